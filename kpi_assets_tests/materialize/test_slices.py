"""A large load_date is built in slices by several writers, with the same result as by a single writer."""

import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from kpi_assets.materialize import parallel
from kpi_assets.materialize.context import BuildOutcome, UpstreamError
from kpi_assets.model import written
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.slices import Slice
from kpi_assets.sources.formats.csv import CsvObject
from kpi_assets.sources.formats.csv.records import HEADER_AGAIN, STRAY
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.connection import WarehouseError, connect
from kpi_assets.warehouse.slices import Stored
from kpi_assets_tests.examples import few
from kpi_assets_tests.machine import PATIENCE
from kpi_assets_tests.materialize.crash_points import await_no_session, leftover_builds
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness, failed

LINES = """\
/* @asset
description: Lines of orders.
owner: team:tests
grain: [order_id, line]
storage: partitions
source:
  object: raw/lines/load_date={load_date}/lines.csv
  format: csv
quarantine: {rows: 5}
columns:
  order_id: {type: integer, description: Order.}
  line: {type: smallint, description: "Line of the order, from 1."}
  note: {type: text, description: Any text.}
checks:
  range: {line: [1, null]}
@end */
"""
SUMS = """\
/* @asset
description: Orders and how many lines each has.
owner: team:tests
grain: [order_id]
storage: partitions
columns:
  order_id: {type: integer, description: Order.}
  lines: {type: bigint, description: Its lines.}
checks:
  reconcile: {source: raw.lines, counted: sum(lines)}
@end */
select
    order_id,
    count(*) as lines
from raw.lines
where load_date = %(load_date)s
group by order_id
"""
DETAILS = """\
/* @asset
description: Lines with their order's lines.
owner: team:tests
grain: [order_id, line]
storage: partitions
columns:
  order_id: {type: integer, description: Order.}
  line: {type: smallint, description: "Line of the order, from 1."}
  lines: {type: bigint, description: Lines of its order.}
checks:
  reconcile: {source: raw.lines}
@end */
with sums as (
    select order_id, count(*) as lines
    from raw.lines
    where load_date = %(load_date)s
    group by order_id
)

select
    l.order_id,
    l.line,
    s.lines
from raw.lines as l
left join sums as s on l.order_id = s.order_id
where l.load_date = %(load_date)s
"""
COUNTS = """\
/* @asset
description: Orders as the view of lines names them.
owner: team:tests
grain: [order_no]
storage: partitions
columns:
  order_no: {type: integer, description: Order.}
  notes: {type: bigint, description: Its lines with a note.}
@end */
select
    order_no,
    count(remark) as notes
from stg.shown
where load_date = %(load_date)s
group by order_no
"""
SHOWN = """\
/* @asset
description: Lines under other names.
owner: team:tests
grain: [order_no, line]
storage: view
columns:
  remark: {type: text, description: Any text.}
  order_no: {type: integer, description: Order.}
  line: {type: smallint, description: "Line of the order, from 1."}
@end */
select
    note as remark,
    order_id as order_no,
    line
from raw.lines
where load_date = %(load_date)s
"""
KEY = f"raw/lines/load_date={DAY}/lines.csv"
HEADER = b"order_id,line,note\n"
RECORDS = [b"%d,%d,n%d\n" % (order, line, order) for order in range(1, 401) for line in range(1, 1 + order % 7 + 1)]
BODY = HEADER + b"".join(RECORDS)
SLICES = (
    "select c.relname, pg_get_expr(c.relpartbound, c.oid) from pg_partition_tree('{}') as t "
    "inner join pg_class as c on t.relid = c.oid where t.isleaf order by 2"
)
ROWS = "select order_id, line, note from raw.lines order by 1, 2"


@pytest.fixture
def lines(lab: PipelineHarness) -> PipelineHarness:
    """A pipeline with a table of lines and two tables that read it."""
    lab.file("raw/lines.sql", LINES)
    lab.file("marts/sums.sql", SUMS)
    lab.file("marts/details.sql", DETAILS)
    return lab


def build(lab: PipelineHarness, name: str = "raw.lines", **changes: Any) -> BuildOutcome:
    """Build a table, in six slices if possible."""
    return lab.build(name, **{"writers": 3, "slice_bytes": len(BODY) // 5, **changes})


def slices(lab: PipelineHarness, relation: str) -> int:
    """Return the number of tables that store the published load_date."""
    return len(lab.rows(SLICES.format(relation)))


@pytest.mark.parametrize("body", few(1, [BODY, BODY.replace(b"\n", b"\r\n"), BODY[:-1]]))
def test_slices_have_the_same_rows_and_checksum_as_one_table(lines: PipelineHarness, body: bytes) -> None:
    lines.put(KEY, body)
    one = [build(lines, name, writers=1, slice_bytes=1 << 30) for name in ("raw.lines", "marts.sums", "marts.details")]
    assert slices(lines, "raw.lines") == slices(lines, "marts.sums") == slices(lines, "marts.details") == 1
    content = lines.rows("select rows, sha256 from ops.manifests")

    many = [build(lines, name) for name in ("raw.lines", "marts.sums", "marts.details")]

    assert slices(lines, "raw.lines") == slices(lines, "marts.sums") == slices(lines, "marts.details") == 6
    assert [(each.rows, each.checksum, each.held) for each in many] == [
        (each.rows, each.checksum, False) for each in one
    ]
    assert lines.rows("select rows, sha256 from ops.manifests") == content
    unique = (
        "select count(*) from pg_inherits as p inner join pg_index as i on p.inhrelid = i.indrelid "
        "where p.inhparent = '{}'::regclass and i.indisunique and i.indisvalid"
    )
    assert [lines.rows(unique.format(name)) for name in ("raw.lines", "marts.sums", "marts.details")] == [[(1,)]] * 3
    assert (
        lines.rows("select rows_extracted, rows_loaded_raw from ops.pipeline_runs where job = 'raw.lines'")
        == [(len(RECORDS), len(RECORDS))] * 2
    )
    assert leftover_builds(lines) == []


def test_the_bounds_of_slices_are_the_cuts_of_the_file(lines: PipelineHarness) -> None:
    lines.put(KEY, BODY)
    build(lines)
    bounds = sorted(
        (bound.split("FROM (")[1].split(")")[0], bound.split("TO (")[1][:-1])
        for _, bound in lines.rows(SLICES.format("raw.lines"))
    )
    cuts = sorted(int(low) for low, _ in bounds if low != "MINVALUE")
    assert len(cuts) == 5
    assert {high for _, high in bounds} == {*map(str, cuts), "MAXVALUE"}
    counts = lines.rows(
        "select tableoid::regclass::text, count(*), min(order_id), max(order_id) from raw.lines group by 1"
    )
    assert sum(count for _, count, _, _ in counts) == len(RECORDS)
    assert sorted(low for _, _, low, _ in counts) == [1, *cuts]


WHOLE = {
    "falling keys": HEADER + b"".join(RECORDS[::-1]),
    "keys that fall in the middle": HEADER + b"".join([*RECORDS[:100], *RECORDS[100:900][::-1], *RECORDS[900:]]),
    "a key of the wrong slice": HEADER + b"".join([*RECORDS[:30], b"399,9,late\n", *RECORDS[30:]]),
    "a quote late in the file": BODY + b'900,1,"a, b"\n',
    "a line end in quotes": BODY + b'900,1,"a\n5,5,b"\n',
}


@pytest.mark.parametrize("name", few(2, WHOLE))
def test_a_file_that_cannot_be_cut_is_built_in_one_piece(lines: PipelineHarness, name: str) -> None:
    lines.put(KEY, WHOLE[name])
    outcome = build(lines)
    assert not outcome.held
    assert slices(lines, "raw.lines") == 1
    rows = lines.rows(ROWS)
    assert len(rows) == len(RECORDS) + (0 if "key" in name and "wrong" not in name else 1)
    if name == "a line end in quotes":
        assert rows[-1] == (900, 1, "a\n5,5,b")
    assert leftover_builds(lines) == []


def test_a_file_with_a_backslash_is_built_in_slices(lines: PipelineHarness) -> None:
    lines.put(KEY, BODY + b"900,1,a\\nb\n")
    assert not build(lines).held
    assert slices(lines, "raw.lines") == 6
    assert lines.rows(ROWS)[-1] == (900, 1, "a\\nb")


def test_an_unreadable_record_of_a_large_file_is_quarantined(lines: PipelineHarness) -> None:
    lines.put(KEY, HEADER + b"".join([*RECORDS[:700], b"x,1,odd\n", *RECORDS[700:], b"401,1\n"]))
    outcome = build(lines)
    assert not outcome.held
    assert lines.rows("select line, record from ops.quarantine order by 1") == [
        (702, "x,1,odd"),
        (len(RECORDS) + 3, "401,1"),
    ]
    assert len(lines.rows(ROWS)) == len(RECORDS)


@pytest.mark.parametrize("end", few(1, [b"\n", b"\r\n"]))
@pytest.mark.parametrize("place", few(1, [300, 1, len(RECORDS)]))
@pytest.mark.parametrize(
    ("record", "column", "reason"),
    [
        (b"1_0,1,n", "order_id", written.problem("integer", "1_0")),
        (b"9,0x1,n", "line", written.problem("smallint", "0x1")),
        (b"9,+1,n", "line", written.problem("smallint", "+1")),
        (b'9,1,3/4" n', None, STRAY),
        (b"order_id,line,note", None, HEADER_AGAIN),
    ],
)
def test_an_invalid_record_that_copy_accepts_is_quarantined_in_any_slice(
    lines: PipelineHarness, record: bytes, column: str | None, reason: str, place: int, end: bytes
) -> None:
    body = b"".join([HEADER, *RECORDS[:place], record + b"\n", *RECORDS[place:]]).replace(b"\n", end)
    lines.put(KEY, body)
    outcome = build(lines)
    assert not outcome.held
    assert lines.rows("select line, record, column_name, reason from ops.quarantine") == [
        (place + 2, record.decode(), column, reason)
    ]
    assert len(lines.rows(ROWS)) == len(RECORDS)
    assert leftover_builds(lines) == []


@pytest.mark.parametrize("where", few(1, [0, 600, len(RECORDS) - 1]))
def test_a_duplicate_key_in_any_slice_holds_the_build(lines: PipelineHarness, where: int) -> None:
    lines.put(KEY, HEADER + b"".join([*RECORDS[: where + 1], RECORDS[where], *RECORDS[where + 1 :]]))
    outcome = build(lines)
    assert outcome.held
    assert [(name, result.metric) for name, result in failed(outcome.results).items()] == [("grain", 1)]
    assert lines.rows(f"select count(*) from {outcome.candidate}") == [(len(RECORDS) + 1,)]
    assert lines.rows("select count(*) from ops.published where asset = 'raw.lines'") == [(0,)]


def test_a_null_key_of_a_large_file_holds_the_build(lines: PipelineHarness) -> None:
    lines.put(KEY, HEADER + b"".join([*RECORDS[:300], b",1,nobody's\n", *RECORDS[300:]]))
    outcome = build(lines)
    assert [(name, result.metric) for name, result in failed(outcome.results).items()] == [("grain", 1)]


def test_a_null_key_of_a_select_in_slices_holds_the_build(
    lines: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines.put(KEY, BODY)
    build(lines)
    monkeypatch.setattr(Pipeline, "co_sliced_inputs", lambda *_: {Relation("raw", "lines"): Relation("raw", "lines")})
    lines.file("marts/sums.sql", SUMS.replace("    order_id,\n", "    nullif(order_id, 7) as order_id,\n", 1))
    outcome = build(lines, "marts.sums")
    assert (outcome.rows, outcome.held) == (400, True)
    assert [(name, result.metric) for name, result in failed(outcome.results).items()] == [("grain", 1)]


@pytest.fixture
def breaks_in_the_fourth(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let the writer of the fourth slice fail while others write. The event is set when it has failed."""
    build_index = candidates.build_index
    reached = threading.Event()

    def break_off(connection: Any, candidate: candidates.Candidate) -> bool:
        if candidate.slice is not None and candidate.slice.number == 3:
            reached.set()
            raise psycopg.errors.DiskFull("no room is left")
        return build_index(connection, candidate)

    monkeypatch.setattr(candidates, "build_index", break_off)
    yield reached


def test_a_writer_that_fails_cancels_the_others_and_leaves_nothing_behind(
    lines: PipelineHarness, breaks_in_the_fourth: threading.Event
) -> None:
    lines.put(KEY, BODY)
    with pytest.raises(WarehouseError, match="no room is left"):
        build(lines)
    assert breaks_in_the_fourth.is_set()
    await_no_session(lines)
    assert leftover_builds(lines) == []
    assert lines.rows("select status from ops.pipeline_runs where job = 'raw.lines'") == [("failed",)]


def test_a_writer_between_two_statements_is_canceled_in_the_next(
    lines: PipelineHarness, breaks_in_the_fourth: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyze = candidates.analyze
    ended = threading.Event()

    def late(connection: Any, candidate: candidates.Candidate, *, is_unique: bool) -> None:
        if candidate.slice is not None and candidate.slice.number == 2:
            assert breaks_in_the_fourth.wait(PATIENCE)
            time.sleep(1)  # the fourth slice fails while no statement runs here that could be canceled
            try:
                connection.execute("select pg_sleep(30)")
            except psycopg.errors.QueryCanceled:
                ended.set()
                raise
        analyze(connection, candidate, is_unique=is_unique)

    monkeypatch.setattr(candidates, "analyze", late)
    lines.put(KEY, BODY)
    with pytest.raises(WarehouseError, match="no room is left"):
        build(lines)
    assert ended.is_set()
    await_no_session(lines)
    assert leftover_builds(lines) == []


def test_no_more_slices_are_written_at_once_than_there_are_writers(
    lines: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more session is open, for a slice that is being committed. Sessions are reused for further slices."""
    build_index = candidates.build_index
    lock, at_once, most, sessions = threading.Lock(), 0, 0, set()

    def slowly(connection: Any, candidate: candidates.Candidate) -> bool:
        nonlocal at_once, most
        with lock:
            if candidate.slice is not None:
                sessions.add(connection.info.backend_pid)
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.1)
        is_unique = build_index(connection, candidate)
        with lock:
            at_once -= 1
        return is_unique

    monkeypatch.setattr(candidates, "build_index", slowly)
    lines.put(KEY, BODY)
    assert not build(lines).held
    assert (slices(lines, "raw.lines"), most, len(sessions)) == (6, 3, 4)


def test_slices_of_a_process_that_died_are_dropped(lines: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    lines.put(KEY, BODY)
    with monkeypatch.context() as patched:
        patched.setattr(parallel.slices, "assemble", lambda *_: (_ for _ in ()).throw(psycopg.errors.DiskFull("full")))
        patched.setattr(candidates, "drop", lambda *_: None)
        with pytest.raises(WarehouseError, match="full"):
            build(lines)
    assert len(leftover_builds(lines)) == 6
    assert not build(lines).held
    assert leftover_builds(lines) == []


def test_a_small_object_is_not_cut(lines: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CsvObject, "find_cuts", lambda *_: pytest.fail("it was cut"))
    lines.put(KEY, BODY)
    assert not build(lines, slice_bytes=len(BODY)).held


@pytest.mark.nightly
def test_random_orders_of_records_give_the_same_checksum_in_slices(lines: PipelineHarness) -> None:
    """For any order of records one of the loaders works, and all give the same checksum."""
    dice = random.Random(7)
    lines.put(KEY, BODY)
    expected = build(lines, writers=1, slice_bytes=1 << 30).checksum
    for _ in range(4):
        records = RECORDS.copy()
        start = dice.randrange(len(records))
        part = records[start : start + 40]
        dice.shuffle(part)
        records[start : start + 40] = part
        lines.put(KEY, HEADER + b"".join(records))
        assert build(lines, slice_bytes=dice.randrange(1500, 6000), writers=dice.randrange(1, 4)).checksum == expected


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The subqueries from which slices are read."""
    found: list[str] = []
    read = Stored.read

    def listen(self: Stored, column: str, part: Slice) -> sql.Composable:
        found.append(read(self, column, part).as_string())
        return read(self, column, part)

    monkeypatch.setattr(Stored, "read", listen)
    return found


def test_a_slice_is_read_from_its_table_with_the_column_names_of_the_view(
    lines: PipelineHarness, reads: list[str]
) -> None:
    lines.file("stg/shown.sql", SHOWN)
    lines.file("marts/counts.sql", COUNTS)
    lines.put(KEY, BODY)
    for name in ("raw.lines", "stg.shown", "marts.counts"):
        build(lines, name)
    columns = '"note" as "remark", "order_id" as "order_no", "line" as "line"'
    assert sorted(reads) == [
        f'(select \'{DAY}\'::date as "load_date", {columns} from "builds"."{name}")'
        for name in sorted(name for name, _ in lines.rows(SLICES.format("raw.lines")))
    ]
    assert lines.rows("select order_no, notes from marts.counts order by 1") == [
        (order, order % 7 + 1) for order in range(1, 401)
    ]


def test_a_large_uncut_table_is_read_in_one_part_per_writer(lines: PipelineHarness, reads: list[str]) -> None:
    lines.put(KEY, BODY)
    build(lines, writers=1, slice_bytes=1 << 30)
    one = build(lines, "marts.sums", writers=1, slice_bytes=1 << 30)
    assert (slices(lines, "raw.lines"), slices(lines, "marts.sums")) == (1, 1)

    many = build(lines, "marts.sums")

    assert (many.rows, many.checksum, many.held) == (one.rows, one.checksum, False)
    counts = lines.rows("select count(*) from marts.sums group by tableoid")
    assert len(counts) == 3
    assert all(100 < count < 170 for (count,) in counts)
    [(name, _)] = lines.rows(SLICES.format("raw.lines"))
    assert len(reads) == 3
    assert all(f'from "builds"."{name}" where ' in text for text in reads)


def test_a_role_that_may_not_read_builds_reads_the_published_table(lines: PipelineHarness, reads: list[str]) -> None:
    """In databases of earlier versions only the published table was granted, not its partitions."""
    lines.put(KEY, BODY)
    build(lines)
    with connect(lines.server, lines.name, "test") as connection:
        for name, _ in lines.rows(SLICES.format("raw.lines")):
            connection.execute(sql.SQL("revoke all on builds.{} from kpi_builder").format(sql.Identifier(name)))
        [(whole,)] = lines.rows(
            "select inhrelid::regclass::text from pg_inherits where inhparent = 'raw.lines'::regclass"
        )
        connection.execute(sql.SQL("revoke all on {} from kpi_builder").format(sql.SQL(whole)))
    outcome = build(lines, "marts.sums")
    assert (outcome.rows, outcome.held, reads) == (400, False, [])


def test_a_build_in_slices_fails_if_its_input_is_published_again_meanwhile(
    lines: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines.put(KEY, BODY)
    build(lines)
    create = candidates.create_from_select

    def late(connection: Any, candidate: candidates.Candidate, *more: Any, **words: Any) -> int:
        if candidate.slice is not None and candidate.slice.number == 0:
            build(lines, run_id="another run")
        return create(connection, candidate, *more, **words)

    monkeypatch.setattr(candidates, "create_from_select", late)
    with pytest.raises(UpstreamError, match=r"marts.sums of .* raw.lines was published again while it was being built"):
        build(lines, "marts.sums", writers=1, slice_bytes=len(BODY) // 5)
    assert leftover_builds(lines) == []
