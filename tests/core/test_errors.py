import pytest

from dynamicrag_cli.core import errors


def test_exit_codes():
    codes = {
        errors.DragError: 1,
        errors.UsageError: 2,
        errors.MissingExtraError: 3,
        errors.InputError: 4,
        errors.EngineError: 5,
        errors.TooManyRejectsError: 6,
    }
    assert {kind: kind.exit_code for kind in codes} == codes
    assert all(issubclass(kind, errors.DragError) for kind in codes)


def test_missing_extra_says_what_to_type():
    message = str(errors.MissingExtraError("the engine 'hf'", "local", ImportError("No module named 'torch'")))
    assert "the engine 'hf'" in message
    assert "No module named 'torch'" in message
    assert "pip install 'dynamicrag-cli[local]'" in message


@pytest.mark.parametrize(("name", "hint"), [("hotpot", " Did you mean 'hotpotqa'?"), ("zzz", "")])
def test_unknown_name(name, hint):
    error = errors.unknown_name("dataset", name, ["nq", "hotpotqa"])
    assert isinstance(error, errors.UsageError)
    assert str(error) == f"unknown dataset '{name}'.{hint} Known: hotpotqa, nq."
