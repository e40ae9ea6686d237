"""What differs between two publishes and all that they were made from, as the ledger records it."""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest
from psycopg import Connection
from psycopg.types.json import Json

from kpi_assets.ledger import causes, schema
from kpi_assets.ledger.causes import Difference
from kpi_assets.model.manifest import NO_OBJECT
from kpi_assets_tests.pipeline_harness import RAW_THINGS, PipelineHarness

DAY, BEFORE = date(2024, 3, 6), date(2024, 3, 5)
RANKS = {
    **dict.fromkeys(["object", "came", "gone"], (0, "objects")),
    "decision": (1, "decision"),
    **dict.fromkeys(["own_sql", "sql", "columns"], (2, "sql")),
    "history": (3, "inputs"),
    **dict.fromkeys(["added", "taken"], (4, "window")),
    "again": (5, "inputs"),
}


class Ledger:
    """Writes publishes of a load_date into a transaction that is rolled back."""

    def __init__(self, connection: Connection[Any]) -> None:
        self.connection = connection
        [(self.build_id,)] = connection.execute(
            "insert into ops.pipeline_runs (run_id, pipeline_name, job, load_date, status) "
            "values ('r', 'p', 'j', %s, 'success') returning id",
            [DAY],
        ).fetchall()

    def publish(
        self,
        asset: str,
        *,
        inputs: Mapping[str, int] | None = None,
        day: date = DAY,
        object_: str = "o",
        code: str = "c",
        rows: str = "",
    ) -> int:
        """Return a publish; without `rows` they are others than those of any other."""
        [(found,)] = self.connection.execute(
            "insert into ops.publishes (asset, load_date, build_id, run_id, manifest_hash, code_version, rows, "
            "checksum, size_bytes, inputs, superseded_at) values (%s, %s, %s, 'r', %s, %s, 1, "
            "coalesce(nullif(%s, ''), gen_random_uuid()::text), 1, %s, now()) returning publish_id",
            [asset, day, self.build_id, object_, code, rows, Json(dict(inputs or {}))],
        ).fetchall()
        return int(found)

    def add_batch(self, asset: str, publish_id: int, base: int, batch: int = 1) -> None:
        """Record that a publish of a table that grows showed a batch."""
        self.connection.execute(
            "insert into ops.batches (asset, load_date, batch, up_to, build_id, base_build_id, publish_id, objects, "
            "records, rows, repeats, quarantined, total_rows, total_records, total_repeats, total_quarantined, "
            "manifest_hash, superseded_at) values (%s, %s, %s, %s, %s, %s, %s, 1, 1, 1, 0, 0, 1, 1, 0, 0, 'o', now())",
            [asset, DAY, batch, batch, publish_id, base, publish_id],
        )

    def recorded(self, publish_id: int) -> tuple[str | None, list[int] | None, list[Difference]]:
        """Record the cause of a publish; return cause, caused_by and differences."""
        causes.record(self.connection, [publish_id])
        [(cause, caused_by, differences)] = self.connection.execute(
            "select cause, caused_by, differences from ops.publishes where publish_id = %s", [publish_id]
        ).fetchall()
        return cause, caused_by, causes.differences(differences)


@pytest.fixture
def ledger(lab: PipelineHarness) -> Any:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.prepared()
    with lab.session() as session, session.transaction(force_rollback=True):
        yield Ledger(session)


@pytest.mark.parametrize(
    ("asset", "before", "after", "difference"),
    [
        ("raw.things", {"object_": "1"}, {"object_": "2"}, "object"),
        ("raw.things", {"object_": NO_OBJECT}, {"object_": "2"}, "came"),
        ("raw.things", {"object_": "1"}, {"object_": NO_OBJECT}, "gone"),
        ("raw.things", {"code": "1"}, {"code": "2"}, "columns"),
        ("decisions.raw__things", {"object_": "1"}, {"object_": "2"}, "decision"),
        ("marts.more", {"inputs": {"raw.x": 1}, "code": "1"}, {"inputs": {"raw.x": 1}, "code": "2"}, "sql"),
    ],
)  # fmt: skip
def test_what_differs_in_something_that_was_read(
    ledger: Ledger, asset: str, before: Mapping[str, Any], after: Mapping[str, Any], difference: str
) -> None:
    inputs = [{asset: ledger.publish(asset, **each)} for each in (before, after)]
    between = [{"marts.weighed": ledger.publish("marts.weighed", inputs=each)} for each in inputs]
    first, last = [ledger.publish("marts.heavy", inputs=each) for each in between]
    rank, cause = RANKS[difference]
    name = "raw.things" if difference == "decision" else asset
    assert ledger.recorded(last) == (cause, [inputs[1][asset]], [Difference(rank, difference, name, DAY)])
    assert ledger.recorded(first) == (None, None, []), "the first publish has no cause"


@pytest.mark.parametrize(
    ("before", "after", "difference", "name", "day"),
    [
        ([], ["raw.things@2024-03-05"], "added", "raw.things", BEFORE),
        (["raw.things@2024-03-05"], [], "taken", "raw.things", BEFORE),
        ([], ["decisions.marts__heavy"], "decision", "marts.heavy", DAY),
        (["decisions.marts__heavy"], [], "decision", "marts.heavy", DAY),
    ],
)
def test_what_was_read_before_or_since_alone(
    ledger: Ledger, before: list[str], after: list[str], difference: str, name: str, day: date
) -> None:
    other = ledger.publish("raw.other")
    ledger.publish("marts.heavy", inputs=dict.fromkeys(before, other))
    last = ledger.publish("marts.heavy", inputs=dict.fromkeys(after, other))
    rank, cause = RANKS[difference]
    assert ledger.recorded(last) == (cause, [other], [Difference(rank, difference, name, day)])


def test_own_sql_and_the_same_rows(ledger: Ledger) -> None:
    raw = {"raw.things": ledger.publish("raw.things")}
    ledger.publish("marts.heavy", inputs=raw, code="1", rows="=")
    same = ledger.publish("marts.heavy", inputs=raw, code="2", rows="=")
    assert ledger.recorded(same) == (None, None, []), "the rows are the same"
    last = ledger.publish("marts.heavy", inputs=raw, code="3")
    assert ledger.recorded(last) == ("sql", [last], [Difference(2, "own_sql", "marts.heavy", DAY)])


def test_what_has_the_same_rows_is_not_looked_into(ledger: Ledger) -> None:
    raw = [{"raw.things": ledger.publish("raw.things", object_=each)} for each in "12"]
    between = [{"marts.weighed": ledger.publish("marts.weighed", inputs=each, rows="=")} for each in raw]
    _, last = [ledger.publish("marts.heavy", inputs=each) for each in between]
    assert ledger.recorded(last) == ("rebuilt", [], [])


def test_several_causes_by_what_counts_most(ledger: Ledger) -> None:
    inputs = [
        {
            "raw.things": ledger.publish("raw.things", object_=each),
            "raw.labels": ledger.publish("raw.labels", code=each),
            "raw.things@2024-03-05": ledger.publish("raw.things", object_=each, day=BEFORE),
        }
        for each in "12"
    ]
    late = ledger.publish("raw.late", day=BEFORE)
    _, last = [
        ledger.publish("marts.heavy", inputs=each) for each in (inputs[0], {**inputs[1], "raw.late@2024-03-05": late})
    ]
    assert ledger.recorded(last) == (
        "objects",
        sorted([*inputs[1].values(), late]),
        [
            Difference(0, "object", "raw.things", BEFORE),
            Difference(0, "object", "raw.things", DAY),
            Difference(2, "columns", "raw.labels", DAY),
            Difference(4, "added", "raw.late", BEFORE),
        ],
    )


def test_a_history_was_corrected_if_one_of_its_earlier_load_dates_has_other_rows(ledger: Ledger) -> None:
    mark = f"marts.seen@..{DAY}"
    own = ledger.publish("marts.seen", rows="1", inputs={"raw.x": 1})
    past = ledger.publish("marts.seen", day=BEFORE, rows="1")

    def heavy(own: int, up_to: int) -> tuple[str | None, list[int] | None, list[Difference]]:
        return ledger.recorded(ledger.publish("marts.heavy", inputs={"marts.seen": own, mark: up_to}))

    assert heavy(own, past)[0] is None
    again = ledger.publish("marts.seen", day=BEFORE, rows="1")
    assert heavy(own, again) == ("rebuilt", [], []), "it was published again with the same rows"
    corrected = ledger.publish("marts.seen", day=BEFORE, rows="2")
    ledger.publish("marts.seen", day=date(2024, 3, 7))
    history = [Difference(3, "history", "marts.seen", DAY)]
    assert heavy(own, corrected) == ("inputs", [corrected], history)
    earlier = ledger.publish("marts.seen", day=date(2024, 3, 4))
    assert heavy(own, earlier) == ("inputs", [earlier], history)
    of_day = ledger.publish("marts.seen", rows="2", code="2", inputs={"raw.x": 1})
    assert heavy(of_day, of_day) == ("sql", [of_day], [Difference(2, "sql", "marts.seen", DAY)]), "read by itself"


def test_a_load_date_that_grows_and_has_more_events_has_no_cause(ledger: Ledger) -> None:
    publishes = [ledger.publish("raw.clicks", object_=each) for each in "1234"]
    for number, publish in enumerate(publishes[:3]):
        ledger.add_batch("raw.clicks", publish, publishes[0], batch=number + 1)
    kpis = [ledger.publish("marts.heavy", inputs={"raw.clicks": each}) for each in publishes]
    assert ledger.recorded(kpis[1])[0] is None
    ledger.add_batch("raw.clicks", publishes[3], publishes[3])
    assert ledger.recorded(kpis[3])[0] is None, "a replay by the same SQL"
    other = ledger.publish("raw.clicks", code="2")
    ledger.add_batch("raw.clicks", other, other)
    last = ledger.publish("marts.heavy", inputs={"raw.clicks": other})
    assert ledger.recorded(last) == ("sql", [other], [Difference(2, "columns", "raw.clicks", DAY)])


def test_a_table_that_grows_whose_publish_is_gone_was_built_again(ledger: Ledger) -> None:
    gone = ledger.publish("stg.clicks", inputs={"raw.x": 1})
    left = ledger.publish("stg.clicks", inputs={"raw.x": 1})
    ledger.add_batch("stg.clicks", gone, gone)
    ledger.add_batch("stg.clicks", left, left)
    _, last = [ledger.publish("marts.heavy", inputs={"stg.clicks": each}) for each in (gone, left)]
    ledger.connection.execute("delete from ops.publishes where publish_id = %s", [gone])
    assert ledger.recorded(last) == ("inputs", [left], [Difference(5, "again", "stg.clicks", DAY)])


def test_several_publishes_are_recorded_at_once(ledger: Ledger) -> None:
    raw = [{"raw.things": ledger.publish("raw.things", object_=each)} for each in "123"]
    found = [ledger.publish("marts.heavy", inputs=each) for each in raw]
    decided = [ledger.publish("decisions.raw__things", object_=each) for each in "12"]
    causes.record(ledger.connection, [*found, *decided])
    assert ledger.connection.execute(
        "select publish_id, cause, caused_by from ops.publishes where cause is not null order by 1"
    ).fetchall() == [(found[n], "objects", [raw[n]["raw.things"]]) for n in (1, 2)]


def test_a_migration_says_of_earlier_publishes_what_their_ledger_says(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.prepared()
    all_of_them = schema.migrations()
    with lab.session() as session, pytest.MonkeyPatch.context() as patch:
        session.execute("drop schema ops cascade")
        patch.setattr(schema, "migrations", lambda: [each for each in all_of_them if each[0] < 22])
        schema.migrate(session)
        ledger = Ledger(session)
        raw = [{"raw.things": ledger.publish("raw.things", object_=each)} for each in "12"]
        _, last = [ledger.publish("marts.heavy", inputs=each) for each in raw]
        same = ledger.publish("marts.heavy", inputs=raw[1])
        patch.setattr(schema, "migrations", lambda: all_of_them)
        schema.migrate(session)
        found = session.execute(
            "select publish_id, cause, caused_by, differences::text from ops.publishes "
            "where cause is not null order by 1"
        ).fetchall()
    assert [row[:3] for row in found] == [
        (raw[1]["raw.things"], "objects", [raw[1]["raw.things"]]),
        (last, "objects", [raw[1]["raw.things"]]),
        (same, "rebuilt", []),
    ]
    assert [json.loads(row[3]) for row in found][1] == [
        {"rank": 0, "difference": "object", "asset": "raw.things", "load_date": str(DAY)}
    ]
