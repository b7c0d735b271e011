"""Loading of pretrained weights: one way for all adapters, quiet, with one kind of error."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dynamicrag_cli.adapters.files.manifest import read_manifest
from dynamicrag_cli.adapters.files.restricted import UnpicklingError
from dynamicrag_cli.core.errors import InputError

# What the manifest of a reranker calls its training, where a constant added to all scores of a question changes nothing.
ORDER_OBJECTIVES = ("listwise", "rrpo")


def load(what: str, name: str, loader: Callable[..., Any], **options: object) -> Any:
    """Call `loader(name, **options)`, a `from_pretrained` or a constructor that takes a folder or hub id.

    Code that a model brings does not run unless `options` say so (see `pinned`).

    Raises:
        InputError: There is no such model, or it is not of the kind that the loader reads.
    """
    check_folder(what, name)
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    # A hub that does not answer is asked again and again, with two lines each time; the error at the end says it once.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    from safetensors import SafetensorError

    try:
        return loader(name, **{"trust_remote_code": False, **options})
    except UnpicklingError as error:
        # pytorch_model.bin is a pickle, which torch reads as weights only.
        reason = "its weights are a pickle that is damaged or holds more than weights; nothing of it was run"
        raise InputError(f"cannot load the {what} {name!r}: {reason}") from error
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"cannot load the {what} {name!r}: {reason}") from error


def pinned(name: str, revision: str | None, trust_remote_code: bool) -> dict[str, Any]:
    """Options that load one commit of a hub's model and let its own code run if that was asked for.

    The code may live in another repository than the weights, hence the second pin. A local folder has no commit that could vouch
    for its code, which therefore never runs.
    """
    if revision is None or Path(name).is_dir():
        return {"trust_remote_code": False}
    return {"revision": revision, "code_revision": revision, "trust_remote_code": trust_remote_code}


def pick_device(device: str | None) -> str:
    """The device asked for, else a GPU where there is one."""
    import torch

    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def check_chat_template(name: str, tokenizer: Any) -> None:
    """Refuse a model that does not say how it is talked to.

    Raises:
        InputError: Its tokenizer has no chat template.
    """
    if not tokenizer.chat_template:
        raise InputError(f"the tokenizer of {name!r} has no chat template; drag needs a chat (instruct) model")


def orders_only(name: str) -> bool:
    """Whether a reranker's scores have an order and no zero: one that drag trained in lists, or by rewards of lists."""
    return Path(name).is_dir() and read_manifest(Path(name)).get("objective") in ORDER_OBJECTIVES


def check_folder(what: str, name: str) -> None:
    """Refuse a name that is meant as a local folder and is none, before anything asks a hub for it.

    A hub's models are OWNER/NAME; a single word is a folder here (`--model sft`), which an earlier stage has not made.

    Raises:
        InputError: The folder does not exist.
    """
    path = Path(name).expanduser()
    looks_local = name.startswith((".", "/", "~")) or name.count("/") != 1 or path.parent.is_dir()
    if looks_local and not path.is_dir():
        raise InputError(f"no such {what} folder: {name}" + ("" if "/" in name else " (a hub's model is OWNER/NAME)"))
