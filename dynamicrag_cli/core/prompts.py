"""Rendering of prompts: one set of templates and one document layout for data building, sampling and inference.

Text from a corpus is data. Before it enters a prompt it is made harmless (`core/neutral.py`): bracketed numbers lose their square
brackets (they could forge an identifier), control tokens of chat models are broken (they could end the turn), and line breaks
become spaces (they could forge a header). The stored text stays as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.neutral import neutralize
from dynamicrag_cli.core.records import Candidate, Question
from dynamicrag_cli.core.tasks import task_of

PROMPTS = ("reranker", "generator", "relevance", "listwise", "judge", "query2doc")
TEMPLATE_FILES = ("passage.jinja", *(f"{name}.{turn}.jinja" for name in PROMPTS for turn in ("system", "user")))


@dataclass(frozen=True)
class Chat:
    """One rendered prompt: a system turn and a user turn."""

    system: str
    user: str

    def messages(self) -> list[dict[str, str]]:
        """The prompt as chat messages, system turn first (left out only when its template is empty)."""
        turns = [{"role": "system", "content": self.system}] if self.system else []
        return [*turns, {"role": "user", "content": self.user}]


_ENVIRONMENT = SandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@lru_cache(maxsize=256)
def _compiled(source: str) -> Template:
    """A template ready to render: every passage of a run is rendered by the same one."""
    return _ENVIRONMENT.from_string(source)


@dataclass(frozen=True)
class PromptSet:
    """All prompt templates of one run.

    Attributes:
        sources: Template text by file name (`TEMPLATE_FILES`); each is Jinja with undefined names forbidden.
        rules: Answer instruction by rule name (`Task.rule`).
        control_tokens: Added tokens of the model's tokenizer, neutralised in every text that enters a prompt.
    """

    sources: dict[str, str]
    rules: dict[str, str]
    control_tokens: frozenset[str] = frozenset()

    def render(self, name: str, **slots: object) -> Chat:
        """Render the system and the user turn of one prompt; surrounding white space is dropped."""
        return Chat(self._fill(f"{name}.system.jinja", slots), self._fill(f"{name}.user.jinja", slots))

    def _fill(self, file: str, slots: dict[str, object]) -> str:
        if file not in self.sources:
            raise UsageError(f"the template folder has no file {file}; it needs {', '.join(TEMPLATE_FILES)} and rules.yaml")
        try:
            return _compiled(self.sources[file]).render(slots).strip()
        except TemplateError as error:
            raise UsageError(
                f"the template {file} cannot be rendered: {error} (its slots: {', '.join(sorted(slots))})"
            ) from error

    def clean(self, text: str) -> str:
        """`neutralize` with this set's control tokens."""
        return neutralize(text, self.control_tokens)

    def _passages(self, docs: Sequence[Candidate]) -> list[str]:
        return [
            self._fill("passage.jinja", {"number": number, "title": self.clean(doc.title), "text": self.clean(doc.text)})
            for number, doc in enumerate(docs, start=1)
        ]

    def reranker(self, question: str, docs: Sequence[Candidate]) -> Chat:
        """The selection prompt: identifiers are 1 + position in `docs`."""
        return self.render("reranker", question=self.clean(question), passages=self._passages(docs))

    def generator(self, question: Question, docs: Sequence[Candidate]) -> Chat:
        """The answer prompt from the chosen passages, renumbered 1..k; `docs` may be empty."""
        rule = task_of(question.dataset).rule
        if rule not in self.rules:
            raise UsageError(f"rules.yaml of the template folder has no rule {rule!r} (data set {question.dataset!r})")
        passages = self._passages(docs)
        return self.render("generator", question=self.clean(question.question), passages=passages, rule=self.rules[rule])

    def relevance(self, question: str, doc: Candidate) -> Chat:
        """The yes/no prompt of the `llm` teacher for one passage."""
        return self.render("relevance", question=self.clean(question), passage=self._passages([doc])[0])

    def listwise(self, question: str, docs: Sequence[Candidate]) -> Chat:
        """The prompt of the `listwise` teacher for one window; the reply is `[2] > [1] > …` over all of `docs`."""
        return self.render("listwise", question=self.clean(question), passages=self._passages(docs))

    def query2doc(self, question: str) -> Chat:
        """The prompt for a passage that would answer a question, to search with."""
        return self.render("query2doc", question=self.clean(question))

    def judge(self, question: str, answers: Sequence[str], answer: str) -> Chat:
        """The judge's prompt for one answer; the reply is a number from 0 to 100."""
        slots = {"references": [self.clean(a) for a in answers], "answer": self.clean(answer)}
        return self.render("judge", question=self.clean(question), **slots)
