"""Engine settings."""

import dataclasses

import pytest

from dynamicrag_cli.adapters.engines.settings import EngineSettings, check_address
from dynamicrag_cli.core.errors import UsageError


def test_settings_cannot_be_changed_under_a_running_engine() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        EngineSettings().device = "cuda"


SHA = "0123456789abcdef0123456789abcdef01234567"


def test_code_from_a_hub_is_trusted_only_at_a_commit() -> None:
    assert EngineSettings(revision=SHA, trust_remote_code=True).trust_remote_code
    assert not EngineSettings(revision=SHA).trust_remote_code
    with pytest.raises(UsageError, match="give --revision"):
        EngineSettings(trust_remote_code=True)


@pytest.mark.parametrize("revision", ["main", "v1.0", "", SHA[:39], SHA + "0", SHA.upper(), SHA[:-1] + "\n", "g" * 40])
def test_what_can_move_is_no_commit(revision: str) -> None:
    with pytest.raises(UsageError, match="no commit"):
        EngineSettings(revision=revision)


def test_an_address_holds_no_password() -> None:
    check_address("https://host.example:8000/v1?what=a@b")
    for url in ("https://user:secret@host/v1", "https://secret@host/v1"):
        with pytest.raises(UsageError, match="OPENAI_API_KEY") as caught:
            check_address(url)
        assert "secret" not in str(caught.value)
