"""Decisions on records that cannot be read: a corrected record takes the place of its own, a discarded one is let go.

A corrected record is loaded beside its own under the negative of its line, and counts only if its own cannot be read.
A decision is on the record that has its text, in its object. Of records with the same text it is on the one on its
line, and otherwise on the next one that has no decision of its own: when persons were erased from an object, those
behind them stand on other lines.
Not here: separating readable records from the others (quarantine.py), and decisions on rows (set_aside.py).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg import Connection

from kpi_assets.model import excerpt
from kpi_assets.model.decision import RECORD, Decision
from kpi_assets.model.records import BadRecord, Record, unused_text

ReadAgain = Callable[[str], Record]  # reads a record whose text was corrected


@dataclass(frozen=True)
class Settled:
    """The bad records with what became of them, and the numbers of all of them that were corrected and discarded."""

    samples: list[BadRecord]
    corrected: int = 0
    discarded: int = 0
    text: str = ""  # for people


@dataclass
class DecidedRecords:
    """The decisions on the records of one build, which it finds while the records are read."""

    decisions: Sequence[Decision]
    # By object and text, the decisions on each line, and the records with that text on other lines.
    _by_text: dict[tuple[Any, Any], dict[Any, list[Decision]]] = field(init=False)
    _elsewhere: dict[tuple[Any, Any], list[tuple[Record, ReadAgain]]] = field(init=False)
    _found: dict[int, list[Decision]] = field(default_factory=dict, init=False)  # by line

    def __post_init__(self) -> None:
        self._by_text, self._elsewhere = defaultdict(dict), defaultdict(list)
        for each in self.decisions:
            there = self._by_text[each.key.get("object"), each.was.get(RECORD)]
            there.setdefault(each.key.get("line"), []).append(each)

    def find(self, record: Record, line: int, read_again: ReadAgain) -> Record | None:
        """Return the record that takes the place of `record`, which begins on a line of its object; None if none does.

        `record.line` is the number under which it is loaded.
        """
        text = record.object_key, record.text
        there = self._by_text.get(text)
        if there is None:
            return None
        if line in there:
            return self._decided(record, there.pop(line), read_again)
        if len(self._elsewhere[text]) < len(there):
            self._elsewhere[text].append((record, read_again))
        return None

    def find_elsewhere(self) -> Iterator[Record]:
        """Yield what takes the place of records on other lines than those of their decisions; call it at the end."""
        for text, there in self._by_text.items():
            for line, (record, read_again) in zip(sorted(there), self._elsewhere[text], strict=False):
                if (other := self._decided(record, there[line], read_again)) is not None:
                    yield other

    def _decided(self, record: Record, found: list[Decision], read_again: ReadAgain) -> Record | None:
        self._found[record.line] = found
        if found[-1].kind != "correct":
            return None
        text = str(found[-1].set.get("record", ""))
        read = read_again(text)
        placed = replace(read, line=-record.line, position=record.position, object_key=record.object_key)
        return replace(placed, text=excerpt.cut(text, excerpt.RECORD))

    def settle(self, connection: Connection[Any], samples: list[BadRecord]) -> Settled:
        """Return what became of the bad records, in the transaction in which they were loaded."""
        if not self.decisions:
            return Settled(samples)
        lines = list(self._found)
        bad = _lines(connection, "select line from pg_temp.bad_records where line = any(%s)", lines)
        misfits = connection.execute(
            "select -line, concat_ws(' ', column_name, quote_literal(value)), reason from pg_temp.bad_records "
            "where line < 0"
        ).fetchall()
        refused = {line: f"{place}: {reason}" if place else reason for line, place, reason in misfits}
        texts = dict(connection.execute("select -line, record from pg_temp.records where line < 0").fetchall())
        last = {line: found[-1] for line, found in self._found.items() if line in bad}
        corrected = {line for line, each in last.items() if each.kind == "correct" and line not in refused}
        discarded = {line for line, each in last.items() if each.kind == "discard"}

        def settled(sample: BadRecord) -> BadRecord:
            line = sample.line
            if line not in last:
                return sample
            decided = replace(sample, decision=last[line].place)
            if line in corrected:
                return replace(decided, state="corrected", corrected=texts[line])
            if line in discarded:
                return replace(decided, state="discarded")
            if line in refused:
                return replace(decided, reason=f"it was corrected, and then {refused[line]}")
            return sample

        unused = len(self.decisions) - sum(len(found) for line, found in self._found.items() if line in bad)
        counts = {"corrected": len(corrected), "discarded": len(discarded)}
        done = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        waiting = len(refused.keys() & last.keys())
        parts = [
            f"by decision: {done}" if done else "",
            f"{waiting} decision{'s' * (waiting > 1)} could not be applied: see the reason in ops.quarantine"
            if waiting
            else "",
            unused_text(unused),
        ]
        return Settled(list(map(settled, samples)), **counts, text="; ".join(filter(None, parts)))


def _lines(connection: Connection[Any], query: str, lines: Sequence[int]) -> set[int]:
    return {line for (line,) in connection.execute(query, [list(lines)])}
