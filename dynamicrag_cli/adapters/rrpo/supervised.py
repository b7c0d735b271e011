"""A cross-encoder from labels, by sentence-transformers' own trainer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss, LambdaLoss
from transformers import TrainerCallback, set_seed
from transformers.trainer_callback import PrinterCallback

from dynamicrag_cli.adapters.pretrained import load, pick_device
from dynamicrag_cli.core.reranking import RankedExample

Curve = list[tuple[int, float]]


@dataclass(frozen=True)
class Settings:
    """How to train; `batch_size` counts passages for the loss `binary` and questions for `listwise`."""

    loss: str
    batch_size: int
    accumulation: int
    learning_rate: float
    epochs: float
    max_steps: int | None
    warmup: float
    cutoff: int
    bf16: bool
    device: str | None
    seed: int
    save_steps: int


class _Steps(TrainerCallback):  # type: ignore[misc]
    def __init__(self, on_step: Callable[[int, int, str], None]) -> None:
        self.on_step, self.note = on_step, ""

    def on_log(self, _args: Any, _state: Any, _control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        self.note = f"loss {float(logs['loss']):.4f}" if logs and "loss" in logs else self.note

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        self.on_step(state.global_step, state.max_steps, self.note)


def train(
    model: str, examples: Sequence[RankedExample], settings: Settings, folder: Path, on_step: Callable[[int, int, str], None]
) -> Curve:
    """Train and save into `folder`; goes on from a checkpoint in it. Returns (step, loss) of the whole run."""
    device = pick_device(settings.device)
    set_seed(settings.seed)  # an encoder gets its head now, at random
    encoder = load("encoder", model, CrossEncoder, num_labels=1, device=device)
    encoder.max_seq_length = min(settings.cutoff, encoder.max_seq_length or settings.cutoff)
    listwise = settings.loss == "listwise"
    arguments = CrossEncoderTrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        seed=settings.seed,
        bf16=settings.bf16,
        use_cpu=device == "cpu",
        save_strategy="steps" if settings.save_steps else "no",
        save_steps=settings.save_steps or 500,
        save_total_limit=1,
        logging_steps=5,
        logging_first_step=True,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=device != "cpu",
    )
    trainer = CrossEncoderTrainer(
        model=encoder,
        args=arguments,
        train_dataset=as_lists(examples) if listwise else as_pairs(examples),
        # All pairs of a list in one forward pass.
        loss=LambdaLoss(encoder, mini_batch_size=-1) if listwise else BinaryCrossEntropyLoss(encoder),
        callbacks=[_Steps(on_step)],
    )
    # Without it: the callback that prints every log line to stdout, which is for data.
    trainer.pop_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=any(folder.glob("checkpoint-*")))
    encoder.save_pretrained(str(folder), create_model_card=False)
    return [(int(entry["step"]), float(entry["loss"])) for entry in trainer.state.log_history if "loss" in entry]


def as_pairs(examples: Sequence[RankedExample]) -> Any:
    """A row per passage: question, passage, label."""
    rows = [(e.question, text, label) for e in examples for text, label in zip(e.passages, e.labels, strict=True)]
    questions, passages, labels = zip(*rows, strict=True)
    return Dataset.from_dict({"question": list(questions), "passage": list(passages), "label": list(labels)})


def as_lists(examples: Sequence[RankedExample]) -> Any:
    """A row per question: its passages and their labels."""
    return Dataset.from_dict(
        {
            "question": [example.question for example in examples],
            "passages": [list(example.passages) for example in examples],
            "labels": [list(example.labels) for example in examples],
        }
    )
