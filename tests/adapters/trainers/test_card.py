"""The model card: what the model was made from, and how."""

from pathlib import Path

import pytest
import yaml

from dynamicrag_cli.adapters.trainers.card import licence_of, write_card

MANIFEST = {
    "stage": "sft",
    "fingerprint": {
        "options": {
            "model": "1f",
            "epochs": 2.0,
            "deepspeed": None,
            "data": {"reranker_bc": "ab12"},
            "mix": {"alpaca.json:0.1": "cd34"},
        }
    },
    "examples": {"reranker_bc": 18},
    "counts": {"in": 18, "dropped": 3, "mixed": 2, "steps": 40},
    "loss": [[1, 2.5], [40, 0.25]],
    "seconds": 61.2,
    "trainer": "0.9.5",
}


def card(folder: Path, base: str = "org/base") -> str:
    write_card(folder, "mine", base, MANIFEST, None)
    return (folder / "README.md").read_text()


def test_it_says_data_settings_and_loss(tmp_path: Path) -> None:
    text = card(tmp_path)
    assert "| reranker_bc | 18 | `ab12` |" in text
    assert "| alpaca.json:0.1 (mixed in) | 2 | `cd34` |" in text
    assert "3 of these were left out" in text
    assert "| epochs | 2.0 |" in text
    assert "40 steps, 61 s, loss 2.500 -> 0.250" in text
    assert "LLaMA-Factory 0.9.5" in text
    assert "drag infer candidates.jsonl -o mine.jsonl --model mine" in text
    assert "deepspeed" not in text
    assert "training_loss.png" not in text
    (tmp_path / "training_loss.png").write_bytes(b"")
    assert "![Loss by step](training_loss.png)" in card(tmp_path)


def test_the_head_is_yaml_and_the_licence_goes_from_card_to_card(tmp_path: Path) -> None:
    base, first, second = (tmp_path / name for name in ("base", "first", "second"))
    for folder in (base, first, second):
        folder.mkdir()
    assert "its folder does not state it" in card(first, str(base))
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Base\n")
    assert "its card gives as apache-2.0" in card(first, str(base))
    assert "its card gives as apache-2.0" in card(second, str(first))
    head = yaml.safe_load((second / "README.md").read_text().split("---")[1])
    assert (head["license"], head["base_model"]) == ("apache-2.0", str(first))


@pytest.mark.parametrize(
    "text", ["", "# Base\n", "---\n: [\n---\n", "---\nwords\n---\n", "---\nlicense:\n---\n", "---\nlicense: x"]
)
def test_a_card_that_states_no_licence(tmp_path: Path, text: str) -> None:
    (tmp_path / "README.md").write_text(text)
    assert licence_of(str(tmp_path)) is None


def test_a_hub_id_has_no_card_here() -> None:
    assert licence_of("org/base") is None
