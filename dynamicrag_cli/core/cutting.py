"""Documents cut into passages on the borders of sentences, which somebody else finds."""

import re
from collections.abc import Iterable, Iterator

_HEADING = re.compile(r"#{1,6}[ \t]+(.*?)[ \t#]*")


def blocks(text: str) -> Iterator[str]:
    """Paragraphs, in order, with single spaces between their words: a blank line ends one, and so does a Markdown heading."""
    words: list[str] = []
    for line in [*text.splitlines(), ""]:
        heading = _HEADING.fullmatch(line.strip())
        if words and (heading or not line.strip()):
            yield " ".join(words)
            words = []
        words += line.split()
        if heading:
            yield " ".join(words)
            words = []


def heading(text: str) -> str | None:
    """The first Markdown heading (`# …`) of a document, without its marks."""
    found = (_HEADING.fullmatch(line.strip()) for line in text.splitlines())
    return next((match[1] for match in found if match and match[1]), None)


def pack(sentences: Iterable[str], limit: int) -> Iterator[str]:
    """Passages of whole sentences, each as long as `limit` words allow; a longer sentence is a passage of its own."""
    words: list[str] = []
    for sentence in sentences:
        added = sentence.split()
        if words and len(words) + len(added) > limit:
            yield " ".join(words)
            words = []
        words += added
    if words:
        yield " ".join(words)
