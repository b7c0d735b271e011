"""Rules about the code itself: quick to start, small files, documented, every command tested and explained."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from dynamicrag_cli.cli.main import app
from tests.conftest import ROOT

PACKAGE = ROOT / "dynamicrag_cli"
SOURCES = sorted(PACKAGE.rglob("*.py"))
HEAVY = (
    "torch",
    "transformers",
    "faiss",
    "bm25s",
    "sentence_transformers",
    "vllm",
    "openai",
    "scipy",
    "sklearn",
    "Stemmer",
    "rouge_score",
    "matplotlib",
    "pyarrow",
    "spacy",
)
MAX_LINES = 350


def commands() -> list[str]:
    """Every command as it is typed."""
    found = []

    def walk(command, words: tuple[str, ...]) -> None:
        children = getattr(command, "commands", None)
        if children is None:
            found.append(" ".join(words))
        for name, child in (children or {}).items():
            walk(child, (*words, name))

    walk(typer.main.get_command(app), ())
    return found


COMMANDS = commands()


def module_of(command: str) -> str:
    """`build-bc` is in build_bc.py, `train sft` in train.py."""
    return command.split(maxsplit=1)[0].replace("-", "_")


def test_the_commands_are_found() -> None:
    assert {"index", "retrieve", "train sft", "train dpo", "eval", "check"} <= {*COMMANDS}
    assert len(COMMANDS) >= 12


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_file_and_its_test(command: str) -> None:
    assert (PACKAGE / f"cli/{module_of(command)}.py").is_file()
    test = ROOT / f"tests/cli/test_{module_of(command)}.py"
    assert f'"{command.split(maxsplit=1)[0]}"' in test.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example_that_calls_it(drag, command: str) -> None:
    done = drag(*command.split(), "--help")
    assert done.code == 0
    text = " ".join(done.out.decode().split())
    assert f"Example: drag {command} " in text


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_names_every_command(command: str) -> None:
    assert f"drag {command}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_lists_every_page_once() -> None:
    listed = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Docs")[2]
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert {page: listed.count(f"(docs/{page})") for page in pages} == dict.fromkeys(pages, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "sft", "--help"],
        ["check", "pipelines/demo.yaml"],
        ["validate", "examples/toy/questions.jsonl"],
        ["show", "tests/golden/records/Prediction.jsonl", "--prompt"],
    ],
    ids=" ".join,
)
def test_help_and_check_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['drag', *{arguments!r}]\n"
        "from dynamicrag_cli.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.splitlines()[-1].split()
    assert loaded[0] == "LOADED"
    assert "dynamicrag_cli" in loaded
    assert not {*loaded} & {*HEAVY}


def test_python_m_is_the_program(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    call = [sys.executable, "-m", "dynamicrag_cli", "--version"]
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_short_and_its_public_parts_have_docstrings(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    tree = ast.parse(text)
    missing = [] if ast.get_docstring(tree) else ["the module"]

    def look(body: list[ast.stmt], public: bool) -> None:
        for node in body:
            if (
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                and public
                and not node.name.startswith("_")
            ):
                if not ast.get_docstring(node):
                    missing.append(node.name)
                if isinstance(node, ast.ClassDef):
                    look(node.body, public=True)

    look(tree.body, public=True)
    assert missing == []


def test_every_adapter_and_command_module_has_a_test_file() -> None:
    """The tests mirror the tree."""
    places = [path.relative_to(PACKAGE) for path in SOURCES if path.name != "__init__.py"]
    mirrored = [place for place in places if place.parts[0] in ("adapters", "cli")]
    assert len(mirrored) > 30
    missing = [str(place) for place in mirrored if not (ROOT / "tests" / place.parent / f"test_{place.name}").is_file()]
    assert missing == []


def record_commands() -> set[str]:
    """The commands that hand a stage to the stage runner."""
    modules = [path for path in (PACKAGE / "cli").glob("*.py") if path.stem != "runner"]
    return {path.stem.replace("_", "-") for path in modules if "run_stage(ctx, " in path.read_text(encoding="utf-8")}


def test_every_record_stage_goes_through_the_runner() -> None:
    """Whatever turns records into records: a command with an input, an output and a limit on rejects."""
    from typer.main import get_command

    from dynamicrag_cli.cli.check import leaf_commands
    from dynamicrag_cli.cli.main import app

    names = {" ".join(words): {param.name for param in command.params} for words, command in leaf_commands(get_command(app))}
    assert {name for name, params in names.items() if {"source", "output", "max_reject_rate"} <= params} == record_commands()
    journals = [path.stem for path in (PACKAGE / "cli").glob("*.py") if "files.journal" in path.read_text(encoding="utf-8")]
    assert journals == ["runner"]
