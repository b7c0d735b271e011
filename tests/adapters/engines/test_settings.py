"""Engine settings."""

import dataclasses

import pytest

from dynamicrag_cli.adapters.engines.settings import EngineSettings


def test_settings_cannot_be_changed_under_a_running_engine() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        EngineSettings().device = "cuda"
