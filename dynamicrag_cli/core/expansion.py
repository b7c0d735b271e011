"""Query2doc (Wang, Yang and Wei 2023): a question is searched together with a passage that a language model wrote for it."""

# Section 3 of the paper: a short question must not drown among the words of the passage.
REPEATS = 5
QUERY2DOC = "query2doc"
EXPANSIONS = (QUERY2DOC,)


def for_words(question: str, passage: str) -> str:
    """For word matching: the question five times, then the passage."""
    return " ".join([question] * REPEATS + [passage])


def for_encoder(question: str, passage: str, separator: str) -> str:
    """For an encoder: the question once, its separator token, and the passage."""
    return f"{question} {separator} {passage}"
