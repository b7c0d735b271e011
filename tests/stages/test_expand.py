import json

import pytest

from dynamicrag_cli.adapters.engines.fake import FakeEngine
from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.core.engine import SamplingOptions
from dynamicrag_cli.stages.expand import retrieve_expanded
from tests.builders import default_prompts, question
from tests.stages.test_retrieve import ScriptedIndex, ids


@pytest.fixture
def engine(tmp_path):
    rules = [
        {"contains": "Why?", "replies": [" It is\n so. "]},
        {"contains": "How?", "error": "boom"},
        {"contains": "Who?", "replies": [" \n"]},
    ]
    (tmp_path / "script.json").write_text(json.dumps({"rules": rules, "default": "Then."}))
    return FakeEngine(str(tmp_path / "script.json"), EngineSettings())


def test_the_passage_is_searched_and_kept_and_a_failed_one_rejects_its_question(engine):
    asked = [question(id=text, question=text, meta={"topic": "x"}) for text in ("How?", "Why?", "Who?", "When?")]
    index = ScriptedIndex("ab", {"Why?+It is so.": [1, 0], "When?+Then.": [0, 1]})
    how, why, who, when = retrieve_expanded(asked, [index], 2, engine, default_prompts(), SamplingOptions())
    assert (str(how), str(who)) == ("the expansion failed: boom", "the expansion failed: the model wrote nothing")
    assert (ids(why), why.meta) == (["b", "a"], {"topic": "x", "query2doc": "It is so."})
    assert (ids(when), when.id) == (["a", "b"], "When?")
    assert len(index.calls) == 1


def test_all_expansions_failed(engine):
    index = ScriptedIndex("ab", {})
    (how,) = retrieve_expanded([question(question="How?")], [index], 2, engine, default_prompts(), SamplingOptions())
    assert isinstance(how, ValueError)
