"""Settings that every engine understands as far as they concern it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineSettings:
    """How a model is loaded and called; none of these changes which text is right.

    Attributes:
        device: `cpu`, `cuda`, `cuda:1` …; None lets the engine choose.
        dtype: `float32`, `bfloat16` or `float16`; None lets the engine choose.
        max_model_len: Context length in tokens; None takes the model's own.
        batch_tokens: `hf`: tokens per batch, padding and samples included.
        gpus: `vllm`: GPUs that share one copy of the model (tensor parallel).
        base_url: `openai`: address of the endpoint; None takes OPENAI_BASE_URL.
        concurrency: `openai`: requests in flight.
        timeout_s: `openai`: seconds before a request counts as failed.
    """

    device: str | None = None
    dtype: str | None = None
    max_model_len: int | None = None
    batch_tokens: int = 16384
    gpus: int = 1
    base_url: str | None = None
    concurrency: int = 16
    timeout_s: float = 120.0
