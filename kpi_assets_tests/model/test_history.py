"""`storage: history`: its words, the SQL that is executed where a SELECT names a history, and what is refused."""

import re
from pathlib import Path

import pytest

from kpi_assets.model.checks.reconcile import Reconcile
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.query import parse_query
from kpi_assets.model.table import Table
from kpi_assets_tests.model.conftest import RAW, YAML, Tree

DIM = Relation("marts", "dim")
HISTORY = """\
/* @asset
description: Things and their history.
owner: team:tests
grain: [thing_id]
storage: history
history: {surrogate_key: thing_sk}
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: Name.}
@end */
select
    thing_id,
    name
from raw.things
where load_date = %(load_date)s
"""
READER = """\
/* @asset
description: Versions of things.
owner: team:tests
grain: [thing_sk]
columns:
  thing_sk: {type: bigint, description: Version.}
  name: {type: text, description: Name.}
@end */
select thing_sk, name from marts.dim
"""
VERSIONS = (
    '(select %(load_date)s::date as load_date, "thing_sk", "thing_id"::integer as "thing_id", "name"::text as "name", '
    "effective_date, case when end_date < %(load_date)s::date then end_date end as end_date, "
    "coalesce(end_date >= %(load_date)s::date, true) as is_current "
    'from "marts"."dim" as stored where effective_date <= %(load_date)s::date)'
)


def changed(old: str, new: str, text: str = HISTORY) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


def adding(value: str, name: str = "x", type_: str = "date") -> str:
    """Return the history with an added column."""
    added = f"{name}: {{type: {type_}, value: {value!r}, description: Added.}}"
    return changed("thing_sk}", f"thing_sk, adds: {{{added}}}}}")


def checked(words: str) -> str:
    """Return the reader with checks."""
    return changed("@end", f"checks: {{{words}}}\n@end", READER)


def loaded(tree: Tree, history: str = HISTORY, reader: str = READER) -> Pipeline:
    tree.write("shop/marts/dim.sql", history)
    tree.write("shop/marts/reader.sql", reader)
    return tree.load()


def the_reader(tree: Tree, history: str = HISTORY, reader: str = READER) -> Table:
    return loaded(tree, history, reader).table("marts.reader")


# ---- the words


def test_a_history_has_the_columns_of_its_rows_and_more_for_who_reads_it(tree: Tree) -> None:
    dim = loaded(tree, adding("coalesce(end_date + 1, effective_date)", "updated_at")).table("marts.dim")
    assert dim.types == {"thing_id": "integer", "name": "text"}
    assert dim.readable_types == {
        "thing_sk": "bigint",
        "thing_id": "integer",
        "name": "text",
        "effective_date": "date",
        "end_date": "date",
        "is_current": "boolean",
        "updated_at": "date",
    }
    described = {name: column.description for name, column in dim.header.readable.items()}
    assert described["thing_sk"] == "Number of the version, made of thing_id, effective_date."
    assert described["updated_at"] == "Added."
    assert dim.header.history is not None
    assert dim.header.history.max_changed == 0.5
    assert (dim.storage.stores_rows, dim.storage.keeps_versions, dim.storage.may_look_back) == (True, True, False)


def test_any_other_table_has_one_set_of_columns(tree: Tree) -> None:
    sold = loaded(tree).table("marts.sold")
    assert (sold.readable_types, sold.history_read) == (sold.types, None)


ERRORS = {
    "no name for its key": (
        changed("history: {surrogate_key: thing_sk}\n", ""),
        ":5: storage: a history needs a name for its key: add `history: {surrogate_key: NAME}`",
    ),
    "the word without the storage": (
        changed("storage: history\n", ""),
        ":5: history: is for `storage: history`: write that, or take it out",
    ),
    "it declares its key": (
        changed("  name:", "  thing_sk: {type: bigint, description: Key.}\n  name:"),
        ":9: columns.thing_sk: the history makes this column: take it out, or give that of `history` another name",
    ),
    "it declares a date": (
        changed("  name:", "  end_date: {type: date, description: End.}\n  name:"),
        ":9: columns.end_date: the history makes this column: take it out",
    ),
    "it declares what it adds": (
        adding("end_date", "name"),
        ":9: columns.name: the history makes this column: take it out, or give that of `history` another name",
    ),
    "a key with the name of a date": (
        changed("thing_sk", "effective_date"),
        ":6: history.surrogate_key: 'effective_date' is a column of every history already: give it another name",
    ),
    "a key called load_date": (
        changed("thing_sk", "load_date"),
        ":6: history.surrogate_key: 'load_date' is a column of every history already: give it another name",
    ),
    "an added column with a name that is taken": (
        adding("end_date is null", "is_current", "boolean"),
        ":6: history.adds.is_current: 'is_current' is a column of every history already: give it another name",
    ),
    "an added column with the name of the key": (
        adding("end_date", "thing_sk"),
        ":6: history.adds.thing_sk: 'thing_sk' is a column of every history already: give it another name",
    ),
    "too large a share": (
        changed("thing_sk}", "thing_sk, max_changed: 1.5}"),
        ":6: history.max_changed: 1.5 is too large: write 1 or less",
    ),
    "a grain that is not of its rows": (
        changed("grain: [thing_id]", "grain: [thing_id, effective_date]"),
        ":4: grain.1: 'effective_date' is not one of the columns (thing_id, name)",
    ),
    "a check of what is not of its rows": (
        changed("columns:", "checks: {not_null: [thing_sk]}\ncolumns:"),
        ":7: checks.not_null.0: 'thing_sk' is not one of the columns (thing_id, name)",
    ),
    "a source": (
        changed(HISTORY[HISTORY.index("select") :], "").replace(
            "columns:", "source: {object: 'raw/{load_date}/x.csv', format: csv}\ncolumns:"
        ),
        ":5: storage: a history is of a table with a SELECT: select from the raw table in a file of its own",
    ),
    "a lookback": (
        changed("columns:", "lookback: 3\ncolumns:"),
        ":7: lookback: the rows of a history are those of one load_date: look back in a table that it reads",
    ),
    "a KPI": (
        changed("columns:", "kpi: {chart: {x: name, y: thing_id}}\ncolumns:"),
        ":7: kpi: a KPI has the rows of each load_date, and a history versions: select the KPI from it",
    ),
    "rows that count over a window": (
        changed("columns:", "versions: latest\ncolumns:"),
        ":7: versions: is for tables that are read over a window, and a history is not: take it out",
    ),
    "it reads itself": (
        changed("where load_date", "where thing_id not in (select thing_id from marts.dim) and load_date"),
        ":15: reads marts.dim, which is itself: a history is of what its load_date delivers",
    ),
    "it reads itself of the load_date before": (
        changed(
            "where load_date",
            "where not exists (select 1 from marts.dim where load_date = %(previous_load_date)s) and load_date",
        ),
        ":11: reads marts.dim, which is itself: a history is of what its load_date delivers",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), ERRORS.values(), ids=ERRORS)
def test_a_history_that_cannot_be_is_refused_with_its_line(tree: Tree, text: str, sentence: str) -> None:
    tree.write("shop/marts/dim.sql", text)
    assert tree.error() == f"marts/dim.sql{sentence}"


UNPARSED = "cannot be parsed as one expression: write one expression of SQL, and no more"
CLOCK = "gives another result each time: compute it from effective_date and end_date alone"
MORE = "is more than one expression over effective_date and end_date: take the rest out"
VALUES = {
    "end_date is (": UNPARSED,
    "end_date where true": UNPARSED,
    "end_date; drop table raw.things": UNPARSED,
    "end_date /* not closed": UNPARSED,
    "end_date, effective_date": MORE,
    "end_date as y": MORE,
    "*": MORE,
    "max(end_date)": MORE,
    "lead(end_date) over ()": MORE,
    "exists (select 1 from raw.things)": MORE,
    "end_date) from raw.things where (true": MORE,
    "end_date) where (true": MORE,
    "end_date -- last day": "has a comment, which could hide what comes after it: put it into the description",
    "name": "reads 'name': it may read effective_date and end_date, of which it is computed",
    "dim.end_date": "reads 'dim.end_date': it may read effective_date and end_date, of which it is computed",
    "current_date - effective_date": CLOCK,
    "'now'::date - effective_date": CLOCK,
    "(random() * 9)::integer + effective_date": CLOCK,
    "end_date - %(load_date)s": "has a percent sign, which is for parameters: an expression of two dates needs none",
}


@pytest.mark.parametrize(("value", "problem"), VALUES.items(), ids=VALUES)
def test_an_added_column_is_one_expression_of_the_two_dates(tree: Tree, value: str, problem: str) -> None:
    tree.write("shop/marts/dim.sql", adding(value))
    assert tree.error() == f"marts/dim.sql:6: history.adds.x.value: {problem}"


# ---- reading a history


def test_a_select_reads_what_was_known_on_its_load_date_in_the_place_of_a_history(tree: Tree) -> None:
    query = the_reader(tree).query
    assert query is not None
    assert query.executed.strip() == f'select thing_sk, name from {VERSIONS} as "dim"'
    assert query.load_date_reads == {DIM}


def test_added_columns_are_computed_of_what_was_known(tree: Tree) -> None:
    query = the_reader(tree, adding("end_date is null", "is_active", "boolean")).query
    assert query is not None
    added = '(end_date is null\n)::boolean as "is_active"'
    assert (
        query.executed.strip()
        == f'select thing_sk, name from (select known.*, {added} from {VERSIONS} as known) as "dim"'
    )


@pytest.mark.parametrize(
    "of",
    [
        "marts.dim",
        "marts.dim where load_date = %(load_date)s",
        "raw.things inner join marts.dim using (load_date, thing_id, name)",
        "marts.dim as d inner join raw.things as t using (load_date, thing_id, name)",
        "(select thing_sk, name from marts.dim where is_current) as d",
        "marts.dim where thing_id in (select thing_id from raw.things where load_date = %(load_date)s)",
    ],
)
def test_a_history_needs_no_condition_may_have_one_and_binds_other_tables(tree: Tree, of: str) -> None:
    query = the_reader(tree, reader=changed("marts.dim", of, READER)).query
    assert query is not None
    assert query.executed.count(VERSIONS) == 1


def test_a_history_does_not_bind_what_is_joined_by_another_column(tree: Tree) -> None:
    loaded(tree)
    tree.write(
        "shop/marts/reader.sql", changed("marts.dim", "marts.dim join raw.things using (thing_id, name)", READER)
    )
    assert tree.error().startswith("marts/reader.sql:9: raw.things is read for all load_dates at once: ")


READ_ERRORS = {
    "an unknown column": (
        changed("select thing_sk, name", "select thing_sk, nome as name", READER),
        ":9: reads the column 'nome' of marts.dim, which has no such column: correct the name, or declare the column "
        "there",
    ),
    "a column of an unknown alias": (
        changed("select thing_sk, name", "select thing_sk, n.name", READER),
        ":9: reads n.name, and nothing that it reads is called 'n': correct the name, or give it as an alias (from ... "
        "as n)",
    ),
    "a column with its schema": (
        changed("select thing_sk, name", "select marts.dim.thing_sk, name", READER),
        ":9: write marts.dim.thing_sk as dim.thing_sk: a subquery is read in the place of its table",
    ),
    "only": (
        changed("from marts.dim", "from only marts.dim", READER),
        ":9: take `only` out before marts.dim: a subquery is read in its place",
    ),
    "a view": (
        changed("columns:", "storage: view\ncolumns:", READER).replace("dim", "dim where load_date = %(load_date)s"),
        ":1: storage: view shows the rows of each load_date, and marts.dim is a history: read it itself",
    ),
    "a window": (
        changed("columns:", "lookback: 3\ncolumns:", READER).replace(
            "dim", "dim where load_date between %(window_start)s and %(load_date)s"
        ),
        ":5: the SELECT reads no window of 3 calendar days: limit a table to it by `load_date between "
        "%(window_start)s and %(load_date)s`, or take lookback out",
    ),
    "a foreign key to no column": (
        checked("foreign_key: {thing_sk: marts.dim.sk}"),
        ":8: checks.foreign_key.thing_sk: marts.dim has no column 'sk': it has thing_sk, thing_id, name, "
        "effective_date, end_date, is_current",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), READ_ERRORS.values(), ids=READ_ERRORS)
def test_a_history_is_not_read_in_other_ways(tree: Tree, text: str, sentence: str) -> None:
    loaded(tree)
    tree.write("shop/marts/reader.sql", text)
    assert tree.error() == f"marts/reader.sql{sentence}"


def test_who_reads_a_history_with_an_error_is_not_blamed_for_it(tree: Tree) -> None:
    loaded(tree)
    tree.write("shop/marts/dim.sql", changed("team:tests", "nobody"))
    assert (
        tree.error()
        == "marts/dim.sql:3: owner: 'nobody' is neither a team nor an address: write team:name or name@example.com"
    )


def test_checks_read_a_history_as_it_was_known(tree: Tree) -> None:
    reader = checked(
        "foreign_key: {thing_sk: marts.dim.thing_sk}, reconcile: {source: marts.dim, sum: thing_id, "
        "here: thing_sk, dropped: {unnamed: name is null}}"
    )
    checks = {check.name: check for check in the_reader(tree, reader=reader).checks}
    [query] = checks["foreign_key__thing_sk"].queries
    assert f'from {VERSIONS} as r where r.load_date = %(load_date)s and r."thing_sk"' in query.executed
    reconcile = checks["reconcile"]
    assert isinstance(reconcile, Reconcile)
    rows = f"(select * from {VERSIONS} as known where is_current)"
    assert [query.executed.count(rows) for query in reconcile.queries] == [1, 1]


def test_retention_passes_a_history_by(tree: Tree) -> None:
    tree.write("shop/pipeline.yaml", f"{YAML}retention: {{raw: 3}}\n")
    tree.write("shop/raw/dim.sql", HISTORY)
    pipeline = loaded(tree, reader=changed("marts.dim", "raw.dim", READER))
    assert [pipeline.retention_days(pipeline.table(name)) for name in ("raw.things", "raw.dim")] == [3, None]
    assert pipeline.histories_of(pipeline.table("marts.reader")) == [Relation("raw", "dim")]
    assert pipeline.histories_of(pipeline.table("raw.dim")) == []
    tree.write("shop/pipeline.yaml", f"{YAML}retention: {{raw.dim: 3}}\n")
    assert tree.error() == "pipeline.yaml:6: retention.raw.dim: a history keeps all its versions: take it out"


# ---- versions of the code


@pytest.mark.parametrize(
    ("history", "is_other"),
    [
        (changed("thing_sk", "thing_key"), True),
        (changed("grain: [thing_id]", "grain: [thing_id, name]"), True),
        (adding("end_date"), True),
        (changed("thing_sk}", "thing_sk, max_changed: 0.1}"), False),
        (changed("description: Name.", "description: Another."), False),
        (changed("where load_date", "where name is not null and load_date"), False),
    ],
)
def test_a_reader_has_another_code_version_if_it_reads_other_columns(tree: Tree, history: str, is_other: bool) -> None:
    reader = changed("thing_sk, name from", "1::bigint as thing_sk, name from", READER)
    before = the_reader(tree, reader=reader).code_version
    assert (the_reader(tree, history, reader).code_version != before) is is_other


def test_who_reads_no_history_keeps_its_versions(tree: Tree) -> None:
    plain = changed("marts.dim", "marts.dim where load_date = %(load_date)s", READER)
    rows = re.sub("storage: history\nhistory: .*\n", "", HISTORY.replace("thing_id", "thing_sk"))
    raw = RAW.replace("thing_id: {type: integer", "thing_sk: {type: bigint").replace("[thing_id]", "[thing_sk]")
    tree.write("shop/raw/things.sql", raw)
    (tree.root / "shop/marts/sold.sql").unlink()
    table = the_reader(tree, rows.replace("integer", "bigint"), plain)
    assert table.query is not None
    assert (table.query.read_versions, table.query.histories) == ([], {})


def test_a_check_that_reads_a_history_has_its_version_in_the_checks_version(tree: Tree) -> None:
    check = "select * from {this} where thing_sk not in (select thing_sk from marts.dim)"
    of_raw = "select thing_id::bigint as thing_sk, name from raw.things where load_date = %(load_date)s\n"
    reader = checked(f"known: {{bad_rows: '{check}'}}").partition("select thing_sk, name")[0] + of_raw
    first, other = the_reader(tree, reader=reader), the_reader(tree, adding("end_date"), reader)
    assert (first.code_version == other.code_version, first.checks_version == other.checks_version) == (True, False)


@pytest.mark.parametrize("storage", ["storage: historic\n", ""])
def test_a_wrong_storage_beside_the_word_history_is_no_error_of_its_readers(tree: Tree, storage: str) -> None:
    tree.write("shop/marts/dim.sql", changed("storage: history\n", storage))
    tree.write("shop/marts/reader.sql", READER)
    assert tree.error().count("read for all load_dates at once") == 0
    assert tree.error().startswith("marts/dim.sql:")


def test_a_view_of_a_history_is_told_to_read_it_itself(tree: Tree) -> None:
    tree.write("shop/marts/dim.sql", HISTORY)
    tree.write("shop/marts/reader.sql", changed("grain:", "storage: view\ngrain:", READER))
    assert "storage: view shows the rows of each load_date, and marts.dim is a history: read it itself" in tree.error()


# ---- reading in part


def test_a_history_is_read_whole_in_each_slice_of_what_is_read_in_part(tree: Tree) -> None:
    sql = (
        "select t.k, d.thing_sk from raw.t as t left join marts.dim as d on d.thing_id = t.k "
        "where t.load_date = %(load_date)s"
    )
    histories = {DIM: loaded(tree).table("marts.dim").history_read}
    query = parse_query(sql, Path("x.sql"), histories=[DIM]).with_neighbors({}, histories)  # type: ignore[arg-type]
    text, is_decided = query.pushed_down("k", lambda relation, column: f"(select * from {relation} where {column} < 5)")
    assert is_decided
    assert text == sql.replace("raw.t as t", "(select * from raw.t where k < 5) as t").replace(
        "marts.dim as d", f"{VERSIONS} as d"
    )
    assert [target.table.relation for target in query.pushdown_targets("k")] == [Relation("raw", "t")]
