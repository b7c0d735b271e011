"""No file that `drag` reads can become code: what would make it so does not stand in the source."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCES = sorted([*(ROOT / "dynamicrag_cli").rglob("*.py"), *(ROOT / "tools").rglob("*.py")])
THE_EXCEPTION = ROOT / "dynamicrag_cli/adapters/files/restricted.py"
PICKLES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}
RUNS_COMMANDS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
UNSAFE_YAML = {"yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.unsafe_load_all", "yaml.full_load", "yaml.full_load_all"}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def imported(node: ast.AST) -> set[str]:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
    module = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    return {part for name in [*names, *module] for part in name.split(".")}


def true(call: ast.Call, keyword: str) -> bool:
    """Whether a keyword is given and is not the constant False."""
    return any(k.arg == keyword and not (isinstance(k.value, ast.Constant) and k.value.value is False) for k in call.keywords)


def problems_of(call: ast.Call) -> list[str]:
    name = dotted(call.func)
    trusting = [k.value for k in call.keywords if k.arg == "trust_remote_code"]
    found = {
        "text": name in RUNS_TEXT or name.startswith("builtins."),
        "shell": name in RUNS_COMMANDS or true(call, "shell"),
        "yaml": name in UNSAFE_YAML,  # safe_load is the one in use
        "torch.load": name == "torch.load" and not true(call, "weights_only"),
        "allow_pickle": true(call, "allow_pickle"),
        "trust_remote_code": any(isinstance(value, ast.Constant) and value.value is True for value in trusting),
        "pickle": name.endswith((".read_pickle", ".to_pickle")),
    }
    return [problem for problem, is_there in found.items() if is_there]


def problems(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if imported(node) & PICKLES:
            found.append("pickle")
        if isinstance(node, ast.Call):
            found += problems_of(node)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_source_turns_no_file_into_code(path: Path) -> None:
    allowed = ["pickle"] if path == THE_EXCEPTION else []
    assert problems(path.read_text(encoding="utf-8")) == allowed


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import pickle", ["pickle"]),
        ("import os, pickle as p", ["pickle"]),
        ("from pickle import load", ["pickle"]),
        ("from torch.serialization import pickle", ["pickle"]),
        ("def f():\n    import joblib", ["pickle"]),
        ("torch.load(f)", ["torch.load"]),
        ("torch.load(f, weights_only=False)", ["torch.load"]),
        ("torch.load(f, weights_only=True)", []),
        ("np.load(f, allow_pickle=True)", ["allow_pickle"]),
        ("np.load(f, allow_pickle=wanted)", ["allow_pickle"]),
        ("np.load(f, allow_pickle=False)", []),
        ("yaml.load(text)", ["yaml"]),
        ("yaml.safe_load(text)", []),
        ("eval(text)", ["text"]),
        ("model.eval()", []),
        ("re.compile(text)", []),
        ("exec(compile(text, '', 'exec'))", ["text", "text"]),
        ("subprocess.run(text, shell=True)", ["shell"]),
        ("subprocess.run(words)", []),
        ("os.system(text)", ["shell"]),
        ("load(name, trust_remote_code=True)", ["trust_remote_code"]),
        ("load(name, trust_remote_code=False)", []),
    ],
)
def test_this_test_sees_what_it_is_meant_to_see(source: str, expected: list[str]) -> None:
    assert problems(source) == expected


def test_the_exception_unpickles_through_its_own_reader_only() -> None:
    tree = ast.parse(THE_EXCEPTION.read_text(encoding="utf-8"))
    used = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and dotted(node).startswith("pickle.")}
    assert used == {"pickle.Unpickler", "pickle.UnpicklingError"}
