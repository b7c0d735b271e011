"""Settings that every engine understands as far as they concern it."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from dynamicrag_cli.core.errors import UsageError


def check_address(url: str) -> None:
    """Refuse an address with a password in it: manifests keep addresses, and a key belongs into the environment.

    Raises:
        UsageError: There is a user name or a password before the host.
    """
    if "@" in urlsplit(url).netloc:
        raise UsageError("the address holds a user name or password, which manifests would keep; use OPENAI_API_KEY")


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
        memory_share: `vllm`: share of what the engine would take of a GPU's memory, where two models live on one.
        revision: `hf`, `vllm`: commit of a hub's model; None takes its newest.
        trust_remote_code: `hf`, `vllm`: whether the code that a hub's model brings may run; only with a `revision`.
    """

    device: str | None = None
    dtype: str | None = None
    max_model_len: int | None = None
    batch_tokens: int = 16384
    gpus: int = 1
    base_url: str | None = None
    concurrency: int = 16
    timeout_s: float = 120.0
    memory_share: float = 1.0
    revision: str | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if self.revision is not None and not re.fullmatch(r"[0-9a-f]{40}", self.revision):
            raise UsageError(f"--revision {self.revision!r} is no commit: give its 40 hex digits (a branch or tag can move)")
        if self.trust_remote_code and self.revision is None:
            raise UsageError("--trust-remote-code runs code from a hub: give --revision, the commit whose code you have read")
