"""The template folder: a user's files replace ours one by one, and what is wrong with them is said."""

from pathlib import Path

import pytest

from dynamicrag_cli.adapters.files.templates import default_folder, load_prompts, prompts_hash, render_training
from dynamicrag_cli.core.errors import DragError, InputError
from dynamicrag_cli.core.prompts import TEMPLATE_FILES
from dynamicrag_cli.core.records import Question
from dynamicrag_cli.core.tasks import TASKS


def folder_with(tmp_path: Path, **files: str) -> Path:
    (tmp_path / "prompts").mkdir()
    for name, text in files.items():
        (tmp_path / "prompts" / name.replace("__", ".")).write_text(text)
    return tmp_path


def test_the_packaged_folder_has_every_template_and_a_rule_for_every_task() -> None:
    prompts = load_prompts(None)
    assert set(TEMPLATE_FILES) == set(prompts.sources)
    assert {task.rule for task in TASKS.values()} <= set(prompts.rules)


def test_a_users_file_replaces_ours_and_the_rest_is_kept(tmp_path: Path) -> None:
    theirs = load_prompts(folder_with(tmp_path, generator__user__jinja="Q={{ question }}", rules__yaml="short-phrase: Be brief."))
    chat = theirs.generator(Question(id="a", question="why?", answers=[], dataset="qa"), [])
    assert chat.user == "Q=why?"
    assert "Be brief." in chat.system
    ours = load_prompts(None)
    assert theirs.sources["reranker.user.jinja"] == ours.sources["reranker.user.jinja"]
    assert theirs.rules["fever-label"] == ours.rules["fever-label"]


def test_the_hash_tells_texts_rules_and_control_tokens_apart(tmp_path: Path) -> None:
    hashes = [
        prompts_hash(load_prompts(None)),
        prompts_hash(load_prompts(None, frozenset({"<|x|>"}))),
        prompts_hash(load_prompts(folder_with(tmp_path, rules__yaml="short-phrase: Be brief."))),
    ]
    assert len(set(hashes)) == 3
    assert prompts_hash(load_prompts(None)) == hashes[0]


def test_a_folder_without_prompts_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a template folder"):
        load_prompts(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "rules",
    [
        "- a list",
        "short-phrase: 7",
        "a: [",
    ],
)
def test_rules_that_are_no_table_of_sentences_are_an_input_error(tmp_path: Path, rules: str) -> None:
    with pytest.raises(InputError, match=r"rules\.yaml"):
        load_prompts(folder_with(tmp_path, rules__yaml=rules))


@pytest.mark.parametrize("template", ["{{ nope }}", "{% for %}"])
def test_a_template_that_cannot_be_rendered_is_an_error_for_people(tmp_path: Path, template: str) -> None:
    prompts = load_prompts(folder_with(tmp_path, reranker__user__jinja=template))
    with pytest.raises(DragError, match=r"reranker\.user\.jinja"):
        prompts.reranker("why?", [])


def test_training_settings_of_a_users_folder_come_first(tmp_path: Path) -> None:
    assert (default_folder() / "llamafactory/sft.yaml.jinja").is_file()
    (tmp_path / "llamafactory").mkdir()
    (tmp_path / "llamafactory/sft.yaml.jinja").write_text("stage: {{ stage }}\n")
    assert render_training(tmp_path, "sft", {"stage": "mine"}) == "stage: mine\n"
