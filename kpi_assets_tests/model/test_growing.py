"""Tables that grow: what their files may say, what their SELECTs may read, and what follows for their tables."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from kpi_assets.model.growing import as_one_batch
from kpi_assets.model.live_run import LiveRun
from kpi_assets.model.names import Relation
from kpi_assets.model.query import Query, parse_query
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.model.tree import load_pipelines
from kpi_assets_tests.model.conftest import YAML, Tree

PATH = Path("sql/shop/stg/clicks.sql")
DAY = "load_date = %(load_date)s"
HERE = f"{DAY} and batch = %(batch)s"
RAW_CLICKS, CLICKS = Relation("raw", "clicks"), Relation("stg", "clicks")
SHOP = YAML.replace("layers: {raw: raw, marts: marts}", "layers: {raw: raw, stg: staging, marts: marts}")
OF_STREAM = """\
/* @asset
description: Clicks as the stream delivered them.
owner: team:tests
grain: [stream_partition, stream_position]
storage: partitions
source:
  stream: clicks
  object: raw/clicks/load_date={load_date}/
  format: ndjson
quarantine: {share: 0.01}
columns:
  event_id: {type: text, description: Identity of the event.}
  amount: {type: integer, field: Amount, description: Amount.}
checks:
  not_null: [event_id]
@end */
"""
GROWING = """\
/* @asset
description: Each click once.
owner: team:tests
grain: [event_id]
storage: partitions
repeats: {keep: first, load_dates: 2}
columns:
  event_id: {type: text, description: Identity of the event.}
  amount: {type: integer, description: Amount.}
  stream_partition: {type: integer, description: Partition of the stream.}
  stream_position: {type: numeric, description: Position in it.}
checks:
  reconcile: {source: raw.clicks, dropped: {free: amount = 0}}
  not_large: {bad_rows: "select * from {this} where amount > 9", severity: warn}
@end */
select
    event_id,
    amount,
    stream_partition,
    stream_position
from raw.clicks
where load_date = %(load_date)s and batch = %(batch)s and amount <> 0
"""
ROLLUP = """\
/* @asset
description: Clicks by amount.
owner: team:tests
grain: [batch, amount]
storage: partitions
columns:
  amount: {type: integer, description: Amount.}
  clicks: {type: bigint, description: Clicks of the batch.}
@end */
select
    amount,
    count(*) as clicks
from stg.clicks
where load_date = %(load_date)s and batch = %(batch)s
group by amount
"""
KPI = """\
/* @asset
description: Clicks by amount, of a load_date.
owner: team:tests
grain: [amount]
columns:
  amount: {type: integer, description: Amount.}
  clicks: {type: bigint, description: Clicks.}
kpi: {chart: {x: amount, y: clicks}}
@end */
select
    amount,
    sum(clicks)::bigint as clicks
from marts.clicks_by_amount
where load_date = %(load_date)s
group by amount
"""
FILES = {
    "pipeline.yaml": SHOP,
    "raw/clicks.sql": OF_STREAM,
    "stg/clicks.sql": GROWING,
    "marts/clicks_by_amount.sql": ROLLUP,
    "marts/kpi_clicks.sql": KPI,
}


@pytest.fixture
def streams(tree: Tree) -> Tree:
    """A pipeline with a stream: each event once, a rollup that grows, and a KPI."""
    for name, text in FILES.items():
        tree.write(f"shop/{name}", text)
    return tree


def problems(tree: Tree) -> list[str]:
    """Return what is wrong, each as `file:line: sentence`."""
    with pytest.raises(ModelError) as error:
        load_pipelines(tree.root)
    return [line.removeprefix(f"{tree.root}/shop/") for line in str(error.value).splitlines()]


def parsed(sql: str) -> Query:
    return parse_query(sql, PATH, itself=CLICKS, grows=True)


def test_tables_grow_that_read_a_stream_or_a_batch(streams: Tree) -> None:
    pipeline = load_pipelines(streams.root)["shop"]
    tables = pipeline.tables
    growing = {str(relation): [*map(str, each.growing_reads)] for relation, each in tables.items() if each.grows}
    assert growing == {"raw.clicks": [], "stg.clicks": ["raw.clicks"], "marts.clicks_by_amount": ["stg.clicks"]}
    assert [str(each.relation) for each in pipeline.growing_tables] == [*growing], "in build order"
    assert pipeline.stream_tables == [tables[RAW_CLICKS]]
    assert [table.relation.table for table in pipeline.object_tables] == ["things"], "a stream has many objects"
    assert tables[Relation("marts", "kpi_clicks")].growing_reads == ()


def test_a_table_of_a_stream_has_the_place_of_each_event(streams: Tree) -> None:
    table = load_pipelines(streams.root)["shop"].tables[RAW_CLICKS]
    assert table.types == {
        "event_id": "text",
        "amount": "integer",
        "stream_partition": "integer",
        "stream_position": "numeric",
        "received_at": "timestamp with time zone",
        "unexpected": "jsonb",
        "batch": "integer",
    }
    assert table.delivered == {"event_id": "text", "amount": "integer"}
    assert [(field.column, field.name) for field in table.dialect.fields] == [
        ("event_id", "event_id"),
        ("amount", "Amount"),
    ]
    assert (table.stream, table.has_object, table.format.name) == ("clicks", False, "ndjson")
    assert table.stream_prefix(date(2025, 3, 1)) == "raw/clicks/load_date=2025-03-01/"
    assert [check.name for check in table.checks] == ["rows_accounted", "quarantine", "chain", "grain", "not_null"]


def test_a_select_that_grows_does_not_return_its_batch(streams: Tree) -> None:
    pipeline = load_pipelines(streams.root)["shop"]
    table = pipeline.tables[CLICKS]
    assert table.columns == ["event_id", "amount", "stream_partition", "stream_position", "batch"]
    assert table.header.selected == ["event_id", "amount", "stream_partition", "stream_position"]
    assert table.types["batch"] == "integer"
    assert pipeline.lineage(table)["batch"] == [(RAW_CLICKS, "batch")]
    assert pipeline.lineage(table)["amount"] == [(RAW_CLICKS, "amount")]
    assert [check.name for check in table.checks] == ["grain", "reconcile", "not_large"]


def test_a_column_called_batch_is_one_like_others_where_nothing_grows(tree: Tree) -> None:
    things = (tree.root / "shop/raw/things.sql").read_text()
    tree.write("shop/raw/things.sql", things.replace("  name:", "  batch:"))
    tree.edit("shop/marts/sold.sql", "  name: {", "  batch: {")
    tree.edit("shop/marts/sold.sql", "    name\n", "    batch\n")
    table = tree.load().tables[Relation("raw", "things")]
    assert (table.grows, table.columns) == (False, ["thing_id", "batch"])


def test_the_words_of_the_live_run_have_defaults(streams: Tree) -> None:
    assert load_pipelines(streams.root)["shop"].config.live == LiveRun(
        tick_seconds=2, flush_seconds=5, most_records=200_000, stay_minutes=60, close_after_minutes=10
    )
    streams.write("shop/pipeline.yaml", SHOP + "live: {tick_seconds: 0.5, close_after_minutes: 0}\n")
    live = load_pipelines(streams.root)["shop"].config.live
    assert (live.tick_seconds, live.flush_seconds, live.close_after_minutes) == (0.5, 5, 0)


def test_a_word_of_a_growing_table_that_changes_its_rows_is_in_its_version(streams: Tree) -> None:
    def versions() -> Mapping[Relation, tuple[str, str]]:
        tables = load_pipelines(streams.root)["shop"].tables
        return {relation: (table.code_version, table.checks_version) for relation, table in tables.items()}

    before = versions()
    streams.edit("shop/stg/clicks.sql", "load_dates: 2", "load_dates: 3")
    after = versions()
    assert {relation for relation in before if before[relation] != after[relation]} == {CLICKS}
    assert before[CLICKS][1] == after[CLICKS][1], "the checks are the same"
    streams.edit("shop/raw/clicks.sql", "stream: clicks", "stream: web.clicks")
    assert {relation for relation, found in versions().items() if found != after[relation]} == {RAW_CLICKS}


GROWS = {
    "a row by a row": f"select a, b + 1 as b from raw.t where {HERE}",
    "a cast": "select a from raw.t where load_date = %(load_date)s::date and batch = %(batch)s::integer",
    "a CTE": f"with s as (select * from raw.t where {HERE}) select a from s",
    "a join of itself": f"select t.a from raw.t join raw.t as u using (load_date, batch, a) where t.{DAY} "
    "and t.batch = %(batch)s",
}


@pytest.mark.parametrize("sql", GROWS.values(), ids=GROWS)
def test_a_select_reads_one_batch(sql: str) -> None:
    query = parsed(sql)
    assert query.grows
    assert query.pushdown_targets("a") == [], "it is replayed as one batch, not in slices"
    assert query.executed == sql


ALL_BATCHES = "raw.t is read for all batches at once: limit it by `load_date = %(load_date)s and batch = %(batch)s`"
REFUSED = {
    "no batch": ("select %(batch)s as b from raw.t where load_date = %(load_date)s", ALL_BATCHES),
    "or": (f"select a from raw.t where {DAY} and (batch = %(batch)s or a = 1)", ALL_BATCHES),
    "up to the batch": (f"select a from raw.t where {DAY} and batch <= %(batch)s", ALL_BATCHES),
    "a text": (f"select a from raw.t where {DAY} and batch::text = %(batch)s", ALL_BATCHES),
    "no load_date": ("select a from raw.t where batch = %(batch)s", "raw.t is read for all load_dates at once"),
    "a window": (
        f"select a from raw.t where {HERE} and load_date between %(window_start)s and %(load_date)s",
        "%(window_start)s is not for a table that grows, which reads one batch (%(batch)s): take it out",
    ),
    "the load_date before": (
        f"select a from raw.t where {HERE} and load_date > %(previous_load_date)s",
        "%(previous_load_date)s is not for a table that grows, which reads one batch (%(batch)s): take it out",
    ),
    "itself": (f"select a from stg.clicks where {HERE}", "reads stg.clicks, which is itself"),
    "only": (f"select a from only raw.t where {HERE}", "take `only` out before raw.t: a subquery is read in its place"),
}


@pytest.mark.parametrize(("sql", "problem"), REFUSED.values(), ids=REFUSED)
def test_a_select_that_reads_more_than_one_batch_is_refused(sql: str, problem: str) -> None:
    with pytest.raises(ModelError) as error:
        parsed(sql)
    assert problem in str(error.value)
    assert "\n" not in str(error.value), "one problem"


def test_only_a_select_and_its_checks_know_the_batch() -> None:
    with pytest.raises(ModelError, match=r"%\(batch\)s is for a SELECT that grows and for its checks: take it out"):
        parse_query(f"select a from raw.t where {HERE}", PATH)


def test_a_replay_reads_the_whole_load_date_as_one_batch() -> None:
    query = parsed(f"select t.a from raw.t where {HERE}")
    whole = as_one_batch(Relation("raw", "t"), ["a", "batch"])
    assert whole == '(select "load_date", "a", %(batch)s::integer as "batch" from "raw"."t")'
    assert query.executed_on({Relation("raw", "t"): whole}) == f'select t.a from {whole} as "t" where {HERE}'
    cast = as_one_batch(Relation("raw", "t"), ["a", "batch"], "(select 1 as load_date, 2 as a)")
    assert cast == (
        '(select "load_date", "a", %(batch)s::integer as "batch" from (select 1 as load_date, 2 as a) as every_row)'
    )


SELECT, STREAM, GRAIN = "stg/clicks.sql", "raw/clicks.sql", "marts/clicks_by_amount.sql"
WRONG: dict[str, tuple[str, str, str, str]] = {
    "rows": (SELECT, "partitions\n", "rows\n", "storage: a table that grows keeps each load_date apart: write"),
    "lookback": (SELECT, "repeats:", "lookback: 2\nrepeats:", "lookback: a table that grows reads one batch"),
    "kpi": (SELECT, "repeats:", "kpi: {chart: {x: amount, y: amount}}\nrepeats:", "kpi: a KPI is computed again from"),
    "quality": (SELECT, "repeats:", "quality: {}\nrepeats:", "quality: a score is of a whole load_date"),
    "rollback": (
        SELECT,
        "repeats:",
        "rollback: {keep: 2}\nrepeats:",
        "rollback: a replay of its events gives each load_date",
    ),
    "min_rows": (SELECT, "checks:\n", "checks:\n  min_rows: {at_least: 1}\n", "checks.min_rows: a batch has as many"),
    "unique": (SELECT, "checks:\n", "checks:\n  unique: {u: [amount]}\n", "checks.unique: it sees one batch"),
    "foreign_key": (
        *(SELECT, "checks:\n", "checks:\n  foreign_key: {event_id: raw.things.name}\n"),
        "checks.foreign_key: a row that comes later may be the one that is looked for",
    ),
    "rules": (
        *(SELECT, "repeats:", "quarantine: {rules: {not_null: [amount]}}\nrepeats:"),
        "quarantine: rules set rows of a whole load_date aside",
    ),
    "on": (SELECT, "{source: raw.clicks, ", "{source: raw.clicks, on: event_id, ", "checks.reconcile.on compares the"),
    "sum": (SELECT, "{source: raw.clicks, ", "{source: raw.clicks, sum: amount, ", "checks.reconcile.sum compares the"),
    "a declared batch": (
        *(SELECT, "columns:\n", "columns:\n  batch: {type: integer, description: Batch.}\n"),
        "columns.batch: every table that grows has this column (%(batch)s): take it out",
    ),
    "no place": (
        *(SELECT, "  stream_position: {type: numeric, description: Position in it.}\n", ""),
        "repeats: the place in the stream tells which row is the first, and stream_position is not one of the columns",
    ),
    "another place": (SELECT, "{type: numeric,", "{type: bigint,", "columns.stream_position: it tells which row"),
    "a key of two batches": (
        *(SELECT, "repeats: {keep: first, load_dates: 2}\n", ""),
        "grain: two batches may have rows with the same event_id: add batch, or leave out what comes again by `repeats",
    ),
    "repeats of a batch": (
        *(GRAIN, "columns:", "repeats: {keep: first}\ncolumns:"),
        "repeats: no row of another batch has the same grain, which names batch",
    ),
    "a group": (
        *(SELECT, "batch = %(batch)s and amount <> 0", "batch = %(batch)s\ngroup by 1, 2, 3, 4"),
        "GROUP BY sees several rows, and a replay of the load_date would show it more of them than one batch did",
    ),
    "no table": (
        GRAIN,
        "from stg.clicks\n",
        "from (select 1 as amount, 2 as load_date, 3 as batch) as s\n",
        "reads none",
    ),
    "two tables": (
        *(GRAIN, "from stg.clicks\n", "from stg.clicks join raw.clicks as r using (load_date, batch, amount)\n"),
        "reads raw.clicks beside stg.clicks, and the batches of two tables do not belong together: read one of them",
    ),
    "one that does not grow": (
        *(GRAIN, "from stg.clicks\n", "from marts.sold\n"),
        "marts.clicks_by_amount grows by batches, and marts.sold has none: read a table that grows, or take %(batch)s",
    ),
    "a check of another table": (
        *(SELECT, "select * from {this} where amount > 9", f"select * from raw.things where {HERE}"),
        "stg.clicks grows by batches, and raw.things has none",
    ),
    "a check of another batch": (
        *(SELECT, "select * from {this} where amount > 9", f"select * from raw.clicks where {DAY}"),
        "raw.clicks is read for all batches at once",
    ),
    "repeats of what does not grow": (
        *("marts/kpi_clicks.sql", "columns:", "repeats: {keep: first}\ncolumns:"),
        "repeats: is for a SELECT that grows, which reads one batch (%(batch)s): take it out",
    ),
    "the grain of a stream": (
        *(STREAM, "grain: [stream_partition, stream_position]", "grain: [event_id]"),
        "grain: an event is known by its place in the stream: write [stream_partition, stream_position]",
    ),
    "repeats of a stream": (STREAM, "columns:", "repeats: {keep: first}\ncolumns:", "repeats: each event of a stream"),
    "rows of a stream": (STREAM, "{share: 0.01}", "{rows: 3}", "quarantine.rows: a stream has no end to count to"),
    "the format of a stream": (
        STREAM,
        "ndjson",
        "json",
        "source.format: the events of a stream are landed as 'ndjson': write",
    ),
    "the format of no stream": (
        *("raw/things.sql", "format: csv", "format: ndjson"),
        "source.format: ndjson is what `kpi stream` writes: name the stream, or correct format",
    ),
    "no folder": (STREAM, "={load_date}/\n", "={load_date}/c.json\n", "source.object: the objects of a stream lie in"),
    "no load_date in it": (STREAM, "/load_date={load_date}/", "/all/", "source.object: the objects of a stream lie in"),
    "a word of files": (
        STREAM,
        "  format:",
        "  optional: true\n  format:",
        "source.optional: is for objects that somebo",
    ),
    "days": (STREAM, "  format:", "  every: monday\n  format:", "source.every: is for objects that somebody delivers"),
    "a dialect": (
        STREAM,
        "  format:",
        "  null: [x]\n  format:",
        "source.null: ndjson says by itself how its values are",
    ),
    "a column's dialect": (STREAM, "field: Amount", 'null: ["x"]', "columns.amount.null: ndjson says by itself how"),
    "an optional column": (STREAM, "field: Amount", "optional: true", "columns.amount.optional: is for files, and an"),
    "a name": (STREAM, "stream: clicks", "stream: a b", "source.stream: 'a b' is no name of a stream: write up to 128"),
    "a declared place": (
        *(STREAM, "columns:\n", "columns:\n  received_at: {type: text, description: Then.}\n"),
        "columns.received_at: every table that grows has this column (source.stream): take it out",
    ),
    "retention": (
        *("pipeline.yaml", "readers: [marts]\n", "readers: [marts]\nretention: {stg: 1}\n"),
        "repeats looks for a row in 2 load_dates, of which retention keeps 1 (pipeline.yaml): look back on fewer",
    ),
}


@pytest.mark.parametrize(("file", "old", "new", "problem"), WRONG.values(), ids=WRONG)
def test_a_file_of_a_growing_table_that_makes_no_sense_is_refused(
    streams: Tree, file: str, old: str, new: str, problem: str
) -> None:
    streams.edit(f"shop/{file}", old, new)
    found = problems(streams)
    assert any(problem in each for each in found), found


def test_two_streams_share_neither_name_nor_folder(streams: Tree) -> None:
    streams.write("shop/raw/views.sql", OF_STREAM.replace("object: raw/clicks/", "object: raw/views/"))
    assert "views.sql:1: raw.clicks has the stream 'clicks' too, which is landed once" in problems(streams)[0]
    other = OF_STREAM.replace("stream: clicks", "stream: views")
    streams.write("shop/raw/views.sql", other)
    [found] = problems(streams)
    assert "raw.clicks has its objects in the same folder (raw/clicks/load_date={load_date}/)" in found
    streams.write("shop/raw/views.sql", other.replace("={load_date}/\n", "={load_date}/views/\n"))
    assert "end it with load_date={load_date}/, without" in problems(streams)[0]


def test_an_object_does_not_lie_among_those_of_a_stream(streams: Tree) -> None:
    streams.edit("shop/raw/things.sql", "raw/things/load_date", "raw/clicks/load_date")
    assert (
        "raw/things.sql:1: the object lies in raw/clicks/load_date={load_date}/, where raw.clicks has the objects of"
        in (problems(streams)[0])
    )


def test_live_is_for_streams(tree: Tree) -> None:
    tree.write("shop/pipeline.yaml", YAML + "live: {tick_seconds: 2}\n")
    assert problems(tree) == [
        "pipeline.yaml:6: live is for pipelines with a stream, and no source has one: take it out"
    ]


def test_a_minimum_of_the_pipeline_is_not_for_batches(streams: Tree) -> None:
    streams.write("shop/pipeline.yaml", SHOP + "defaults: {min_rows: {at_least: 5}}\n")
    tables = load_pipelines(streams.root)["shop"].tables.values()
    of_growing = {str(table.relation) for table in tables if any(each.name == "min_rows" for each in table.checks)}
    assert of_growing == {"raw.things", "marts.sold", "marts.kpi_clicks"}


FRESH = "freshness: {within_minutes: 3}\n"


def test_a_kpi_that_reads_what_grows_counts_in_minutes_and_rests(streams: Tree) -> None:
    streams.edit("shop/marts/kpi_clicks.sql", "kpi:", f"{FRESH}refresh: {{minutes: 2.5}}\nkpi:")
    pipeline = load_pipelines(streams.root)["shop"]
    header = pipeline.tables[Relation("marts", "kpi_clicks")].header
    assert header.freshness
    assert header.refresh
    assert (header.freshness.within_minutes, header.freshness.within_hours, header.refresh.minutes) == (3, None, 2.5)
    streams_of = [table.stream for table in pipeline.streams_of(pipeline.tables[Relation("marts", "kpi_clicks")])]
    assert streams_of == ["clicks"]
    assert pipeline.streams_of(pipeline.tables[Relation("marts", "sold")]) == []


SOLD, TILE = "marts/sold.sql", "marts/kpi_clicks.sql"


@pytest.mark.parametrize(
    ("file", "words", "problem"),
    [
        (
            SOLD,
            "refresh: {minutes: 3}\n",
            "refresh is for tables that read tables that grow, and marts.sold reads none",
        ),
        (SELECT, "refresh: {minutes: 3}\n", "refresh: a table that grows is not built again, but gets each batch"),
        (STREAM, "refresh: {minutes: 3}\n", "refresh: a table that grows is not built again"),
        ("raw/things.sql", "refresh: {minutes: 3}\n", "refresh: a raw table is built from its object: take it out"),
        (TILE, f"{FRESH}refresh: {{minutes: 3}}\n", "freshness.within_minutes: 3 is not more than refresh, 3 minutes"),
        (TILE, "freshness: {within_minutes: 3, within_hours: 2}\n", "write either within_hours or within_minutes"),
        (TILE, "freshness: {}\n", "freshness: it is counted in one way: write either within_hours or within_minutes"),
        (TILE, "freshness: {within_minutes: 0.2}\n", "freshness.within_minutes: 0.2 is too small: write 0.5 or more"),
    ],
)
def test_words_of_tables_that_read_what_grows_are_refused_elsewhere(
    streams: Tree, file: str, words: str, problem: str
) -> None:
    streams.edit(f"shop/{file}", "columns:\n", f"{words}columns:\n")
    found = problems(streams)
    assert any(problem in each for each in found), found
