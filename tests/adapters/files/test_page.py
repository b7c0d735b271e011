"""The page: nothing in it ends a script, runs, or comes from outside."""

import base64
import hashlib
import json
import re
from typing import Any

import pytest

from dynamicrag_cli.adapters.files.page import render_page, script_json
from tests.runs import EVIL


def test_json_in_a_script_element_is_the_same_json_without_marks_of_html() -> None:
    value = {"text": EVIL + "<!-- ]]> \u2029", "nothing": float("nan")}
    text = str(script_json(value))
    assert not {*text} & {*"<>&\u2028\u2029"}
    assert json.loads(text) == {**value, "nothing": None}


def page(**slots: Any) -> str:
    empty: dict[str, Any] = {"title": "run", "version": "0", "missing": [], "sections": [], "n_questions": 0, "limits": []}
    return render_page({**empty, **slots}, {"questions": []})


@pytest.mark.parametrize("slots", [{"title": EVIL}, {"missing": [EVIL]}, {"limits": [EVIL], "n_questions": 1}])
def test_slots_are_escaped(slots: dict[str, Any]) -> None:
    text = page(**slots)
    assert "&lt;/script&gt;&lt;script&gt;" in text
    assert "<img" not in text
    assert text.count("<script") == 2


def test_the_policy_allows_just_the_script_of_the_page() -> None:
    text = page()
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text


def test_nothing_is_loaded_from_outside() -> None:
    assert not re.search(r"(?:src|href)=[\"']?(?!#)\w|@import|url\((?!#)", page())
