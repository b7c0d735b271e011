"""The store of an index that is being built, filled from a corpus: passages in, what cannot be used to rejects.jsonl."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dynamicrag_cli.adapters.files.corpora import Corpus
from dynamicrag_cli.adapters.files.jsonl import encoder
from dynamicrag_cli.cli.rejects import REJECTS
from dynamicrag_cli.core.errors import InputError, TooManyRejectsError
from dynamicrag_cli.core.records import Passage, Reject
from dynamicrag_cli.core.repeats import Repeats


def fill_store(folder: Path, corpus: Corpus, max_reject_rate: float) -> dict[str, int]:
    """Write the passages of a corpus into the store of an index; returns the counts for its manifest.

    Raises:
        InputError: There are no passages; or one cannot be used and the rate is 0: no corpus is read to its end in vain.
        TooManyRejectsError: More than this share was rejected; the reasons are left in the folder.
    """
    filling = _Filling(folder, corpus, strict=max_reject_rate == 0)
    counts = filling.run()
    if counts["rejected"] > max_reject_rate * counts["in"]:
        raise TooManyRejectsError(
            f"{counts['rejected']} of {counts['in']} passages were rejected, more than --max-reject-rate allows; "
            f"see {folder / REJECTS}"
        )
    if not counts["out"]:
        raise InputError(f"{corpus.path}: holds no passages")
    return counts


class _Filling:
    def __init__(self, folder: Path, corpus: Corpus, *, strict: bool) -> None:
        self.folder, self.corpus, self.strict = folder, corpus, strict
        self.n_in = self.n_rejected = 0
        self.repeats = Repeats()

    def run(self) -> dict[str, int]:
        from dynamicrag_cli.adapters.retrievers.store import write_store

        with (self.folder / REJECTS).open("wb") as self.rejects:
            written = write_store(self.folder, self._passages())
            written -= self._leave_out_repeats()
        if not self.n_rejected:
            (self.folder / REJECTS).unlink()
        return {"in": self.n_in, "out": written, "rejected": self.n_rejected}

    def _passages(self) -> Iterator[Passage]:
        for number, item in self.corpus:
            self.n_in += 1
            if isinstance(item, Reject):
                self._reject(item)
            else:
                self.repeats.add(item.id, number)
                yield item

    def _reject(self, reject: Reject) -> None:
        if self.strict:
            raise InputError(
                f"{self.corpus.path}, {self.corpus.format.unit} {reject.line}: {reject.reason}\n"
                "Type: --max-reject-rate 0.01 to leave out what cannot be used, up to that share"
            )
        self.n_rejected += 1
        self.rejects.write(encoder.encode(reject) + b"\n")

    def _leave_out_repeats(self) -> int:
        """Take passages whose id was met before out of the store, which is written anew if there are any; returns their number.

        Where it is the corpus's nature to repeat passages, an equal one is none of the rejects.
        """
        from dynamicrag_cli.adapters.retrievers.store import FILE, PassageStore, write_store

        store = PassageStore(self.folder)
        kept = np.ones(len(store), dtype=bool)
        for row, first in self.repeats.found(lambda rows: [passage.id for passage in store.get(rows)]):
            kept[row] = False
            again, before = store.get([row, first])
            if not (self.corpus.format.repeats and (again.title, again.text) == (before.title, before.text)):
                number, earlier = self.repeats.lines[row], self.repeats.lines[first]
                reason = f"the id {again.id!r} was met before, in {self.corpus.format.unit} {earlier}"
                self._reject(Reject(line=number, id=again.id, reason=reason))
        if kept.all():
            return 0
        again_folder = self.folder / "again"
        again_folder.mkdir()
        write_store(again_folder, (passage for passage, keep in zip(store, kept, strict=True) if keep))
        (again_folder / FILE).replace(self.folder / FILE)
        again_folder.rmdir()
        return int((~kept).sum())
