"""Check the toy pack: `python examples/toy/check_pack.py [PASSAGES QUESTIONS]`; exits 1 on any problem.

Only the standard library is used, so that the check runs before anything is installed.
"""

import collections
import json
import re
import string
import sys
from pathlib import Path

HERE = Path(__file__).parent
KINDS = {"one-hop", "two-hop", "yes-no", "claim", "no-passage", "unanswerable"}
CLAIM_LABELS = {"SUPPORTS", "REFUTES"}
MIN_WORDS, MAX_WORDS = 30, 60
GOLD_COUNT = {
    "one-hop": (1, 2),
    "two-hop": (2, 2),
    "yes-no": (1, 2),
    "claim": (1, 2),
    "no-passage": (0, 0),
    "unanswerable": (0, 0),
}


def normalize(text: str) -> str:
    """Lower case, without punctuation, articles and repeated white space (as SQuAD does)."""
    text = "".join(ch for ch in text.lower() if ch not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def read(path: Path) -> list[dict]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def passage_problems(passages: list[dict]) -> list[str]:
    problems, seen_text = [], {}
    for passage in passages:
        name = passage.get("id", "?")
        if set(passage) != {"id", "title", "text"}:
            problems.append(f"{name}: fields are {sorted(passage)}, expected id, title, text")
            continue
        words = len(passage["text"].split())
        if not MIN_WORDS <= words <= MAX_WORDS:
            problems.append(f"{name}: {words} words, expected {MIN_WORDS} to {MAX_WORDS}")
        key = normalize(passage["text"])
        if key in seen_text:
            problems.append(f"{name}: same text as {seen_text[key]}")
        seen_text[key] = name
    doubled = [name for name, n in collections.Counter(p["id"] for p in passages).items() if n > 1]
    return problems + [f"{name}: passage id used twice" for name in doubled]


def question_problems(question: dict, passages: dict[str, dict]) -> list[str]:
    name, kind, gold = question["id"], question["kind"], question["gold_passage_ids"]
    if kind not in KINDS:
        return [f"{name}: kind {kind!r} is not one of {sorted(KINDS)}"]
    problems = [f"{name}: gold passage {g} does not exist" for g in gold if g not in passages]
    low, high = GOLD_COUNT[kind]
    if not low <= len(gold) <= high:
        problems.append(f"{name}: {len(gold)} gold passages for a {kind} question")
    if not question["answers"] or not all(a.strip() for a in question["answers"]):
        problems.append(f"{name}: an empty answer")
    if question["dataset"] != ("fever" if kind == "claim" else "qa"):
        problems.append(f"{name}: dataset {question['dataset']!r} does not fit kind {kind!r}")
    if kind == "claim" and (len(question["answers"]) != 1 or question["answers"][0] not in CLAIM_LABELS):
        problems.append(f"{name}: a claim is answered by exactly one of {sorted(CLAIM_LABELS)}")
    if kind == "yes-no" and question["answers"][0] not in {"yes", "no"}:
        problems.append(f"{name}: a yes/no question is answered by 'yes' or 'no'")
    if kind in {"one-hop", "two-hop"} and not problems:
        gold_text = " ".join(normalize(passages[g]["title"] + " " + passages[g]["text"]) for g in gold)
        if f" {normalize(question['answers'][0])} " not in f" {gold_text} ":
            problems.append(f"{name}: answer {question['answers'][0]!r} does not stand in a gold passage")
    return problems


def split_problems(questions: list[dict]) -> list[str]:
    problems, seen, gold_split = [], {}, {}
    for question in questions:
        split, key = question.get("split"), normalize(question["question"])
        if split not in {"train", "dev"}:
            problems.append(f"{question['id']}: split is {split!r}, expected train or dev")
        if key in seen:
            problems.append(f"{question['id']}: same question as {seen[key]}")
        seen[key] = question["id"]
        for gold in question["gold_passage_ids"]:
            if gold_split.setdefault(gold, split) != split:
                problems.append(f"{question['id']}: gold passage {gold} serves both splits")
    return problems


def main(passage_file: Path, question_file: Path) -> int:
    passages, questions = read(passage_file), read(question_file)
    by_id = {p["id"]: p for p in passages}
    problems = passage_problems(passages) + split_problems(questions)
    problems += [problem for q in questions for problem in question_problems(q, by_id)]
    doubled = [name for name, n in collections.Counter(q["id"] for q in questions).items() if n > 1]
    problems += [f"{name}: question id used twice" for name in doubled]
    for problem in problems:
        print(problem)
    kinds = collections.Counter((q.get("split"), q["kind"]) for q in questions)
    print(f"{len(passages)} passages, {len(questions)} questions, {len(problems)} problems")
    for (split, kind), n in sorted(kinds.items(), key=str):
        print(f"  {split}: {n} {kind}")
    return 1 if problems else 0


if __name__ == "__main__":
    files = [Path(arg) for arg in sys.argv[1:]] or [HERE / "passages.jsonl", HERE / "questions.jsonl"]
    sys.exit(main(*files))
