"""monoT5 on a tiny random T5, against its logits read off directly."""

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, T5ForConditionalGeneration

from dynamicrag_cli.adapters.teachers.monot5 import MonoT5
from dynamicrag_cli.adapters.teachers.settings import TeacherSettings
from dynamicrag_cli.core.errors import InputError

PAIRS = [("Which town?", f"Title {i}", "The river Danube. " * (1 + 7 * i % 5)) for i in range(5)]


def test_relevance_is_softmax_over_true_and_false_in_the_first_step(tiny_t5: Path) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(tiny_t5), T5ForConditionalGeneration.from_pretrained(tiny_t5).eval()
    true, false = (tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("true", "false"))
    expected = []
    for question, title, text in PAIRS:
        inputs = tokenizer(f"Query: {question} Document: {title} {text} Relevant:", return_tensors="pt")
        with torch.inference_mode():
            logits = model(**inputs, decoder_input_ids=torch.tensor([[model.config.decoder_start_token_id]])).logits[0, 0]
        expected.append(float(torch.sigmoid(logits[true] - logits[false])))
    for size in (1, 2, 32):
        found = MonoT5(str(tiny_t5), TeacherSettings(batch_size=size)).relevance(PAIRS)
        assert found == pytest.approx(expected, abs=1e-5)
    assert len({round(value, 6) for value in expected}) == len(PAIRS)


def test_nothing_to_score(tiny_t5: Path) -> None:
    assert MonoT5(str(tiny_t5), TeacherSettings()).relevance([]) == []


def test_a_long_passage_keeps_the_cue_at_the_end_of_the_prompt(tiny_t5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = MonoT5(str(tiny_t5), TeacherSettings())
    seen = []
    real = teacher.model.forward
    monkeypatch.setattr(teacher.model, "forward", lambda **inputs: (seen.append(inputs["input_ids"]), real(**inputs))[1])
    teacher.relevance([("Which town?", "", "Danube " * 900)])
    assert teacher.tokenizer.decode(seen[0][0], skip_special_tokens=True).endswith("Relevant:")


def test_a_model_of_another_kind_is_an_input_error(tmp_path: Path, tiny_t5: Path) -> None:
    with pytest.raises(InputError, match="monoT5"):
        MonoT5(str(tmp_path / "nowhere"), TeacherSettings())


def test_a_tokenizer_that_cannot_tell_true_from_false_is_an_input_error(tiny_t5: Path, tmp_path: Path) -> None:
    import shutil

    from transformers import PreTrainedTokenizerFast

    shutil.copytree(tiny_t5, tmp_path / "t5")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<pad>", eos_token="</s>").save_pretrained(
        tmp_path / "t5"
    )
    with pytest.raises(InputError, match="no monoT5"):
        MonoT5(str(tmp_path / "t5"), TeacherSettings())
