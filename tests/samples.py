"""Small records and scripts that several tests use, as the JSON that stands in files."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# The words that tell a selection prompt from an answer prompt, whatever the templates say.
SELECT = (ROOT / "templates/prompts/reranker.user.jinja").read_text(encoding="utf-8").strip().splitlines()[-1]

TOWNS = ("Ulm", "Passau", "Vienna", "Budapest", "Belgrade", "Linz", "Krems", "Vukovar", "Mohács", "Ruse", "Galați", "Regensburg")
PASSAGES = [
    {"id": "a", "title": "Danube", "text": "A river through Vienna.", "topic": "rivers"},
    {"_id": "b", "title": "Io", "contents": "A moon with volcanoes."},
    {"id": "c", "title": "", "text": "Untitled words on bridges."},
]
# A line that is no JSON.
BROKEN = '{"id":"broken"'


def candidate(town: str, score: float = 1.0) -> dict[str, Any]:
    return {"id": f"p-{town}", "title": town, "text": f"{town} lies on the Danube and has a market.", "score": score}


def question(number: int, **changes: Any) -> dict[str, Any]:
    """A retrieved question about a town, with three candidates of which the first is gold."""
    town, *others = (TOWNS[(number + step) % len(TOWNS)] for step in range(3))
    made = {
        "id": f"q-{number}",
        "question": f"Which town number {number} lies on the Danube?",
        "answers": [town],
        "dataset": "qa",
        "split": "train" if number % 3 else "dev",
        "gold_passage_ids": [f"p-{town}"],
        "docs": [candidate(others[0], 3.0), candidate(town, 2.0), candidate(others[1], 1.0)],
    }
    return {**made, **changes}


def labelled(number: int, **changes: Any) -> dict[str, Any]:
    relevance = {"teacher": "gold", "model": None, "scores": [0.0, 1.0, 0.0], "threshold": 0.5}
    return question(number, relevance=relevance, **changes)


def sampled(number: int, **changes: Any) -> dict[str, Any]:
    """A question with four rollouts: right and short, right and long, wrong, none."""
    record = question(number)
    first, gold, last = (doc["id"] for doc in record["docs"])
    town = record["answers"][0]
    rollouts = [
        {"selection": [gold], "status": "ok", "raw": "[2]", "answer": town, "n_reader_tokens": 20},
        {"selection": [gold, first, last], "status": "ok", "raw": "[2], [1], [3]", "answer": town, "n_reader_tokens": 60},
        {"selection": [last], "status": "ok", "raw": "[3]", "answer": "Paris", "n_reader_tokens": 20},
        {"selection": [], "status": "none", "raw": "None", "answer": "unknown", "n_reader_tokens": 10},
    ]
    return {**record, "rollouts": rollouts, **changes}


def prediction(number: int, **changes: Any) -> dict[str, Any]:
    record = question(number)
    rollout = {"selection": record["gold_passage_ids"], "status": "ok", "raw": "[2]", "answer": record["answers"][0]}
    return {**record, "rollout": {**rollout, **changes}, "selector": "llm"}


def write(path: Path, records: Iterable[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def script(path: Path, default: str = "[1]", **rules: list[str] | dict[str, Any]) -> Path:
    """A script of the fake engine; a rule is `text of the prompt=replies`."""
    listed = [{"contains": text, **(reply if isinstance(reply, dict) else {"replies": reply})} for text, reply in rules.items()]
    path.write_text(json.dumps({"rules": listed, "default": default}))
    return path
