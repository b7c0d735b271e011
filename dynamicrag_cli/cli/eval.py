"""`drag eval`."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from dynamicrag_cli.adapters import registry
from dynamicrag_cli.adapters.files.jsonl import STREAM, encoder
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.console import say, show_table, write_stdout
from dynamicrag_cli.cli.eval_files import Source, gold_questions, kind_of, many_hands, no_garbage, sources_of
from dynamicrag_cli.cli.eval_rewards import reward_reports, show_rewards
from dynamicrag_cli.cli.eval_study import manifests_of, readers_of, seconds_of, show_study
from dynamicrag_cli.cli.eval_tables import caption, comparison_caption, comparison_table, score_table
from dynamicrag_cli.cli.outputs import check_output, write_whole
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.identifiers import WELL_FORMED
from dynamicrag_cli.core.metrics import METRICS
from dynamicrag_cli.core.ranking import MATCHES
from dynamicrag_cli.core.records import Prediction, Question, QuestionScores, RetrievedQuestion, extend
from dynamicrag_cli.core.targets import score_order
from dynamicrag_cli.stages.compare import comparison
from dynamicrag_cli.stages.evaluate import Entails, Scored, averaged, collect, report, score
from dynamicrag_cli.stages.ranking import evaluate_candidates
from dynamicrag_cli.stages.rollouts import chosen_docs
from dynamicrag_cli.stages.study import study as run_study

_EXTRAS = {
    "ranking": registry.Entry("ranking:rank_scores", "eval", "recall@k, nDCG@k and MRR by ir_measures"),
    "nli": registry.Entry("entailment:Entailment", "local", "claim recall"),
}


def eval_command(
    predictions: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES...",
            help="Files of drag infer, one row each, or of drag retrieve; NAME=A,B is one system with several seeds.",
            show_default=False,
        ),
    ],
    gold: Annotated[
        str | None,
        typer.Option("--gold", metavar="QUESTIONS", help="Questions with gold answers, JSONL; not for files of drag reward."),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="REPORT", help="The report, one JSON document (- for stdout).")
    ] = "-",
    baseline: Annotated[
        str | None, typer.Option(metavar="FILE", help="Compare every file with this one, question by question.")
    ] = None,
    common: Annotated[
        bool, typer.Option("--common", help="With --baseline or --study: use the questions that all files have.")
    ] = False,
    study: Annotated[
        bool,
        typer.Option(
            "--study",
            help="Is dynamic k worth it? Accuracy against passages and tokens over files of several selectors, and a conclusion.",
        ),
    ] = False,
    scores: Annotated[Path | None, typer.Option(metavar="OUT", help="Write per-question scores, JSONL.")] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            parser=opt.one_of("metric", METRICS),
            metavar="NAME",
            help=f"Answer metrics instead of those of the task, the headline first: {', '.join(METRICS)}.",
        ),
    ] = None,
    nli: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Claim recall where a question has meta.claims, by this NLI classifier (untested on real weights).",
        ),
    ] = None,
    ranking: Annotated[
        bool, typer.Option("--ranking", help="Score the order of the chosen passages as retrieval is: recall@k, nDCG@k, MRR.")
    ] = False,
    by_relevance: Annotated[
        bool, typer.Option("--by-relevance", help="Rankings: candidates by a teacher's relevance, not in retrieval order.")
    ] = False,
    match: Annotated[
        list[str] | None,
        typer.Option(
            parser=opt.one_of("match", MATCHES),
            metavar="id|title|answer",
            help="Rankings: what counts as found: gold ids (default), titles in meta.gold_titles, or a passage with an answer;"
            " repeat it for a row each.",
        ),
    ] = None,
    at: Annotated[list[int] | None, typer.Option(min=1, metavar="K", help="Rankings: cutoffs (default: 1, 5, 20).")] = None,
    split: opt.Split = None,
    dev_share: opt.DevShare = 0.1,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only the first N gold questions.")] = None,
    seed: opt.Seed = 0,
    device: opt.Device = None,
    config: opt.Config = None,
    variant: opt.Variant = None,
) -> None:
    """Evaluate predictions or candidates: tables on stderr, one JSON document out.

    Predictions: selection precision, recall and F1 against gold passages, the answer metrics of each task with 95 % bootstrap
    intervals, passages read, share of None. Questions without a prediction and malformed selections count as failures.
    Candidates: recall@k, nDCG@k and MRR (extra eval). Files of drag reward, without --gold: each term's mean and spread, what
    the total goes with, how often judge and EM disagree.

    Example: drag eval sft.jsonl dpo.jsonl --gold questions.jsonl --split dev -o report.json

    Example: drag eval dpo=dpo-1.jsonl,dpo-2.jsonl --baseline top-3.jsonl --gold questions.jsonl

    Example: drag eval --study none.jsonl top-1.jsonl top-3.jsonl dpo.jsonl --gold questions.jsonl

    Example: drag eval candidates.jsonl --gold questions.jsonl --match id --match title --match answer
    """
    # The baseline may stand among the files (predictions/*.jsonl).
    sources = sources_of([*(text for text in predictions if text != baseline), *([baseline] if baseline else [])])
    read = [gold, *(path for source in sources for path in source.paths)]
    check_output(output, read)
    check_output(scores, [*read, output])
    if gold is None:
        if study or scores:
            raise UsageError("--study and --scores are about answers and need --gold QUESTIONS")
        rewards = {"systems": reward_reports(sources)}
        show_rewards(rewards["systems"])
        _publish(rewards, output)
        return
    kind = kind_of(sources)
    wanted = gold_questions(gold, split, dev_share, seed, limit)
    document: dict[str, Any] = {"gold": gold, "split": split}
    rows: list[QuestionScores] = []
    if by_relevance and kind is Prediction:
        raise UsageError("--by-relevance is about candidates; a prediction is ranked as it was chosen")
    if kind is Prediction and not ranking:
        scored = _answers(sources, wanted, list(metric or []), seed, _entails(nli, device))
        document["systems"] = [system.report for system in scored]
        rows = [row for system in scored for row in system.rows]
        if baseline:
            document["comparisons"] = _comparisons(scored, common=common, seed=seed)
        if study:
            document["study"] = _study(sources, scored, wanted, common=common, seed=seed)
    elif baseline or metric or nli or study:
        raise UsageError("--baseline, --study, --metric and --nli are about answers; candidates and --ranking have none")
    else:
        order = _by_relevance if by_relevance else _as_chosen
        document["systems"], rows = _rankings(sources, kind, wanted, at or [1, 5, 20], match or ["id"], seed, order)
    _show(document, len(wanted))
    if scores:
        write_whole(scores, b"".join(encoder.encode(row) + b"\n" for row in rows))
    _publish(document, output)


def _answers(
    sources: list[Source], gold: dict[str, Question], metrics: list[str], seed: int, entails: Entails | None
) -> list[Scored]:
    """Score predictions, system by system."""
    made = []
    with no_garbage(), many_hands(gold, metrics) as apply:
        for source in sources:
            files = []
            for path in source.paths:
                try:
                    files.append(collect(source.read(path, Prediction), gold, source.name))
                except ValueError as error:
                    raise InputError(f"{path}: {error}") from None
            scored = [score(file, gold, metrics, apply, entails) for file in files]
            told = report(files, scored, gold, seed) | {"unreadable": source.unreadable}
            made.append(Scored(files, averaged(scored), told))
    return made


def _comparisons(scored: list[Scored], *, common: bool, seed: int) -> list[dict[str, Any]]:
    """Every system against the last one, the baseline."""
    try:
        return [comparison(system, scored[-1], common=common, seed=seed) for system in scored[:-1]]
    except ValueError as error:
        raise InputError(str(error)) from None


def _study(sources: list[Source], scored: list[Scored], gold: dict[str, Question], *, common: bool, seed: int) -> dict[str, Any]:
    """The study of the files, with what their manifests add."""
    several = [source.name for source in sources if len(source.paths) > 1]
    if several:
        raise UsageError(f"{', '.join(several)}: --study takes one file per system")
    manifests = manifests_of(sources)
    try:
        made = run_study(scored, gold, common=common, seed=seed, seconds=seconds_of(manifests))
    except ValueError as error:
        raise InputError(str(error)) from None
    return made | {"readers": readers_of(manifests)}


def _rankings(
    sources: list[Source],
    kind: type[RetrievedQuestion],
    gold: dict[str, Question],
    cutoffs: list[int],
    matches: list[str],
    seed: int,
    order: Callable[[RetrievedQuestion], RetrievedQuestion],
) -> tuple[list[dict[str, Any]], list[QuestionScores]]:
    """Score rankings, a row per file and match: candidates in retrieval order, or chosen passages in the order of the choice."""
    rank_scores = registry.load("ranking metrics", "ranking", _EXTRAS)
    reports, rows = [], []
    for source in sources:
        if len(source.paths) > 1:
            raise UsageError(f"{source.name}: repeats are about answers; give one file per ranking")
        records = [order(record) for record in source.read(source.paths[0], kind)]
        for match in dict.fromkeys(matches):
            name = source.name if len({*matches}) == 1 else f"{source.name} ({match})"
            measure = partial(rank_scores, any_hit=match == "answer")
            try:
                made, scored = evaluate_candidates(records, gold, name, measure, sorted({*cutoffs}), match, seed)
            except ValueError as error:
                raise InputError(f"{source.paths[0]}: {error}") from None
            reports.append(made | {"unreadable": source.unreadable})
            rows += scored
    return reports, rows


def _as_chosen(record: RetrievedQuestion) -> RetrievedQuestion:
    """A prediction as a ranking of the passages it chose; a malformed reply has chosen nothing."""
    if not isinstance(record, Prediction):
        return record
    chosen = record.rollout.selection if record.rollout.status in WELL_FORMED else []
    made: RetrievedQuestion = extend(record, RetrievedQuestion, docs=chosen_docs(record, chosen), relevance=None)
    return made


def _by_relevance(record: RetrievedQuestion) -> RetrievedQuestion:
    """The candidates in the order of a teacher's relevance."""
    if record.relevance is None:
        raise InputError(f"question {record.id!r} has no relevance, which drag rerank-teacher adds")
    docs = [record.docs[position] for position in score_order(record.relevance.scores)]
    made: RetrievedQuestion = extend(record, RetrievedQuestion, docs=docs, relevance=None)
    return made


def _entails(model: str | None, device: str | None) -> Entails | None:
    if model is None:
        return None
    made: Entails = registry.load("claim recall", "nli", _EXTRAS)(model, device)
    return made


def _show(document: dict[str, Any], n_questions: int) -> None:
    show_table(score_table(document["systems"]))
    for line in caption(document["systems"], n_questions):
        say(line)
    if document.get("comparisons"):
        say("")
        show_table(comparison_table(document["comparisons"]))
        for line in comparison_caption(document["comparisons"]):
            say(line)
    if "study" in document:
        say("")
        show_study(document["study"])


def _publish(document: dict[str, Any], output: str) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False)
    if output == STREAM:
        write_stdout(text)
    else:
        write_whole(Path(output), text + "\n")
