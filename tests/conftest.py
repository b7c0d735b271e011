"""What tests share: tiny models, the toy corpus, and `drag`, the program run in this process."""

import io
import os
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# Before any library that reads them: nothing is looked up elsewhere, and the machine stays usable.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests import tiny_models

ROOT = Path(__file__).parents[1]


def _built(build: Callable[..., Path]) -> Callable[[pytest.TempPathFactory], Path]:
    return lambda factory: build(factory.mktemp("models") / build.__name__.removeprefix("build_").replace("_", "-"))


@pytest.fixture(scope="session")
def tiny_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random chat model."""
    return _built(tiny_models.build_tiny_lm)(tmp_path_factory)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random sentence encoder."""
    return _built(tiny_models.build_tiny_encoder)(tmp_path_factory)


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random T5."""
    return _built(tiny_models.build_tiny_t5)(tmp_path_factory)


@pytest.fixture(scope="session")
def tiny_cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random cross-encoder."""
    return _built(tiny_models.build_tiny_cross_encoder)(tmp_path_factory)


@dataclass
class Run:
    """How one call of `drag` ended; `error` is the exception that nothing caught, which a person would see as a traceback."""

    code: int
    out: bytes
    err: str
    error: BaseException | None = None


class _Kept(io.BytesIO):
    """Bytes that can be read after the text stream around them is gone."""

    def close(self) -> None:
        pass


def run_drag(*arguments: object, stdin: bytes = b"") -> Run:
    """`drag ARGUMENTS` in this process, through `main`, so with its messages and exit codes."""
    from dynamicrag_cli.cli.main import main

    saved = sys.argv, sys.stdin, sys.stdout, sys.stderr, sys.modules["__main__"]
    out, err = _Kept(), _Kept()
    sys.argv = ["drag", *map(str, arguments)]
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(out, encoding="utf-8", write_through=True)
    sys.stderr = io.TextIOWrapper(err, encoding="utf-8", write_through=True)
    # The name of the program is guessed from __main__, which must not be pytest's.
    sys.modules["__main__"] = types.ModuleType("__main__")
    code, error = 0, None
    try:
        main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException as caught:
        code, error = 1, caught
        traceback.print_exc()
    finally:
        sys.argv, sys.stdin, sys.stdout, sys.stderr, sys.modules["__main__"] = saved
    return Run(code, out.getvalue(), err.getvalue().decode(), error)


@pytest.fixture
def drag(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """`drag(*arguments, stdin=b"")`, free of the DRAG_ variables of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("DRAG_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
    return run_drag


@pytest.fixture(scope="session")
def toy_bm25(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The BM25 index of the toy corpus."""
    folder = tmp_path_factory.mktemp("indexes") / "bm25"
    done = run_drag("index", ROOT / "examples/toy/passages.jsonl", "-o", folder)
    assert done.code == 0, done.err
    return folder


@pytest.fixture(scope="session")
def toy_dense(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """The dense index of the toy corpus with the tiny encoder."""
    folder = tmp_path_factory.mktemp("indexes") / "dense"
    done = run_drag("index", ROOT / "examples/toy/passages.jsonl", "-o", folder, "--retriever", "dense", "--model", tiny_encoder)
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A small HTTP server on 127.0.0.1: `loopback.answers` is a list of functions, the last of which goes on answering."""
    from tests.loopback import Loopback

    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Loopback()
    yield server
    server.stop()
