"""With real weights and real data: `make test-slow`."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "models/smollm2-135m"
# The system turn that the model was made with; it is a small model and minds the difference.
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def drag(*arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dynamicrag_cli", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_packaged_model_answers_and_samples_the_same_in_any_batch() -> None:
    from dynamicrag_cli.adapters.engines.hf import HfEngine
    from dynamicrag_cli.adapters.engines.settings import EngineSettings
    from dynamicrag_cli.core.engine import ChatRequest, SamplingOptions
    from dynamicrag_cli.core.prompts import Chat

    engine = HfEngine(str(MODEL), EngineSettings(device="cpu"))
    asked = [ChatRequest(country, Chat(SYSTEM, f"What is the capital of {country}?")) for country in ("France", "Italy")]
    (france,), _ = engine.chat(asked, SamplingOptions(max_new_tokens=24))
    assert "Paris" in france.text
    assert engine.chat(asked[:1], SamplingOptions(max_new_tokens=24))[0][0].text == france.text
    # One prefill for four samples gives what four single requests give.
    drawn = engine.chat(asked[:1], SamplingOptions(n=4, temperature=1.0, top_p=0.9, max_new_tokens=8, seed=3))[0]
    again = engine.chat(asked, SamplingOptions(n=4, temperature=1.0, top_p=0.9, max_new_tokens=8, seed=3))[0]
    assert [c.text for c in drawn] == [c.text for c in again]
