"""The reader's answers on the disk: what was once asked is not asked again, in any later run with the same file."""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from dynamicrag_cli.core.errors import InputError

Key = tuple[str, str, str, str]


class AnswerCache:
    """A table in SQLite: (question id, ordered passage ids, reader, prompt hash) -> answer; several processes may share it.

    Another reader, another prompt or another text of a passage is another key, so a file may serve any number of them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.base = sqlite3.connect(path, timeout=60)
            self.base.execute("PRAGMA journal_mode=WAL")
            self.base.execute(
                "CREATE TABLE IF NOT EXISTS answers (question TEXT, passages TEXT, reader TEXT, prompt TEXT, answer TEXT, "
                "PRIMARY KEY (question, passages, reader, prompt)) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"cannot use the cache of answers {path}: {error}; delete it or give another --cache") from error

    def get(self, keys: Sequence[Key]) -> dict[Key, str]:
        """The answers that are known."""
        query = "SELECT answer FROM answers WHERE question = ? AND passages = ? AND reader = ? AND prompt = ?"
        found = ((key, self.base.execute(query, key).fetchone()) for key in keys)
        return {key: str(row[0]) for key, row in found if row is not None}

    def put(self, answers: Iterable[tuple[Key, str]]) -> None:
        """Keep answers; they are on the disk when this returns."""
        with self.base:
            rows = ((*key, answer) for key, answer in answers)
            self.base.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        self.base.close()
