"""storage: history: whatever the order, and however often, the versions are those of the load_dates' rows."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import psycopg
import pytest
from psycopg import sql

from kpi_assets.ledger import publishes
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildOutcome
from kpi_assets.materialize.recheck import recheck
from kpi_assets.model.names import Relation
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.warehouse import content, tables
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets.warehouse.ddl import DefinitionError, types_of
from kpi_assets.warehouse.kinds import strategy_of
from kpi_assets.warehouse.versions import VersionChanges
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import DAY, NEXT, PipelineHarness, failed
from kpi_assets_tests.warehouse.history_harness import Customers, Row, day, surrogate_key

A, B = ("John", "NYC", "1.0"), ("John", "LA", "1.0")
NAME = "marts.customers"
PUBLISHED = f"select load_date, rows, checksum from ops.published where asset = '{NAME}' order by 1"


@pytest.fixture
def customers(lab: PipelineHarness) -> Customers:
    return Customers(lab)


def remove(customers: Customers, load_date: date) -> None:
    table = customers.lab.pipeline().table(NAME)
    with customers.lab.session() as session, session.transaction():
        strategy_of(table).remove(session, table, load_date)
        publishes.record_drop(session, [table.relation], load_date)
    del customers.said[load_date]


# ---- what the versions say


def test_a_change_ends_a_version_and_begins_another(customers: Customers) -> None:
    assert customers.deliver(day(0), {"CUST001": A, "CUST002": A}).versions == VersionChanges(new=2)
    assert customers.deliver(day(5), {"CUST001": B, "CUST002": A}).versions == VersionChanges(changed=1)
    customers.check()
    assert [row[1:] for row in customers.versions()] == [
        ("CUST001", *A, day(0), day(4), False),
        ("CUST001", *B, day(5), None, True),
        ("CUST002", *A, day(0), None, True),
    ]
    made = "select is_active, updated_at from marts.customers where customer_id = 'CUST001' order by effective_date"
    assert customers.lab.rows(made) == [(False, day(5)), (True, day(5))]


def test_what_differs_in_one_bit_is_another_version_and_its_return_a_third(customers: Customers) -> None:
    between: dict[str, Row] = {
        "empty": ("John", "", "1.0"),
        "NULL": ("John", None, "1.0"),
        "no scale": ("John", "NYC", "1"),
        "scale": ("John", "NYC", "1.00"),
    }
    always, delivered = {"same": A}, {**dict.fromkeys(between, A), "absent": A}
    found = [
        customers.deliver(day(number), {**always, **rows}).versions
        for number, rows in enumerate([delivered, delivered, between, between, delivered])
    ]
    changed = VersionChanges(changed=4, ended=1)
    assert found == [
        VersionChanges(new=6),
        VersionChanges(),
        changed,
        VersionChanges(),
        VersionChanges(new=1, changed=4),
    ]
    customers.check()
    versions: dict[str, list[tuple[Any, Any]]] = {}
    for _, key, *_, effective, end, _ in customers.versions():
        versions.setdefault(key, []).append((effective, end))
    first, second, third = (day(0), day(1)), (day(2), day(3)), (day(4), None)
    assert {key: versions[key] for key in between} == {key: [first, second, third] for key in between}
    assert (versions["absent"], versions["same"]) == ([first, third], [(day(0), None)])


def test_a_key_that_no_load_date_delivers_any_more_has_no_current_version(customers: Customers) -> None:
    customers.deliver(day(0), {"c": A, "d": A})
    assert customers.deliver(day(1), {}).versions == VersionChanges(ended=2)
    customers.check()
    assert customers.lab.rows("select count(*), count(*) filter (where is_current) from marts.customers") == [(2, 0)]


def test_orders_and_replays_give_the_same_bytes_and_checksums(customers: Customers) -> None:
    lab, delivered = customers.lab, {day(0): {"c": A, "d": A}, day(1): {"c": B, "e": A}, day(7): {"c": A, "d": A}}
    for load_date, rows in delivered.items():
        customers.land(load_date, rows)
    found = set()
    for order in ([0, 1, 7], [7, 1, 0, 7], [1, 7, 0, 1, 0]):
        with lab.session() as session:
            tables.drop(session, Relation.parse(NAME))
            session.execute("delete from ops.publishes where asset = %s", [NAME])
        for number in order:
            assert not lab.build(NAME, day(number)).held
        text = "select string_agg(t::text, ' ' order by customer_id, effective_date) from marts.customers as t"
        found.add((lab.rows(text)[0], tuple(lab.rows(PUBLISHED))))
    assert len(found) == 1
    customers.said = {
        load_date: {key: (key, *row) for key, row in rows.items()} for load_date, rows in delivered.items()
    }
    customers.check()


def test_a_load_date_that_is_held_is_in_no_version_until_it_is_corrected(customers: Customers) -> None:
    customers.deliver(day(0), {"c": A})
    before = customers.versions()
    held = customers.deliver(day(1), {"c": ("Nobody", "LA", "1.0")})
    assert (held.held, held.versions) == (True, None)
    assert list(failed(held.results)) == ["accepted_values__name"]
    assert customers.versions() == before

    assert customers.deliver(day(2), {"c": A}).versions == VersionChanges()
    assert customers.versions() == before, "the history goes on without the load_date"

    assert customers.deliver(day(1), {"c": B}).versions == VersionChanges(changed=1)
    customers.check()
    assert len(customers.versions()) == 3


@pytest.mark.nightly
def test_a_load_date_is_replaced_between_others(customers: Customers) -> None:
    for number in range(4):
        customers.deliver(day(number), {"c": A, "d": B})
    assert customers.deliver(day(1), {"c": B, "e": A}).versions == VersionChanges(new=1, changed=1, ended=1)
    customers.check()
    assert customers.deliver(day(1), {"c": A, "d": B}).versions == VersionChanges(new=1, changed=1, ended=1)
    customers.check()
    assert len(customers.versions()) == 2


@pytest.mark.nightly
def test_a_removed_load_date_leaves_what_the_one_before_says(customers: Customers) -> None:
    delivered = {day(0): {"c": A, "d": A}, day(2): {"c": B}, day(4): {"c": A, "d": A}}
    for load_date, rows in delivered.items():
        customers.deliver(load_date, rows)
    for load_date, left in ((day(2), 2), (day(4), 3), (day(0), 3)):
        remove(customers, load_date)
        customers.check()
        assert len(customers.versions()) == left
        customers.deliver(load_date, delivered[load_date])
        customers.check()
    for load_date in delivered:
        remove(customers, load_date)
    assert customers.versions() == []


def test_load_dates_that_are_built_at_once_give_the_versions_of_a_build_in_order(customers: Customers) -> None:
    rng = random.Random(11)
    for number in range(6):
        rows = {f"k{key}": (rng.choice(["Ann", "John"]), rng.choice([None, "x"]), "1") for key in range(30)}
        customers.land(day(number), {key: row for key, row in rows.items() if rng.random() < 0.8})
        customers.said[day(number)] = {}
    context = customers.lab.prepared()
    table = context.pipeline.table(NAME)

    def build_it(load_date: date) -> BuildOutcome:
        return build(context, table, load_date)

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(build_it, rng.sample(sorted(customers.said), 6)))

    assert not any(outcome.held for outcome in outcomes)
    raw = "select load_date, customer_id, name, city, score::text from raw.customers"
    for load_date, key, *row in customers.lab.rows(raw):
        customers.said[load_date][key] = (key, *row)  # type: ignore[index]
    customers.check()


# ---- what keeps a wrong version from being published


def test_a_fold_whose_rows_cannot_be_read_back_is_not_published(customers: Customers) -> None:
    customers.deliver(day(0), {"c": A, "d": A})
    before = customers.versions()
    with customers.lab.session() as session:
        session.execute(
            "create function marts.changed() returns trigger language plpgsql as "
            "$$ begin new.city := 'elsewhere'; return new; end $$"
        )
        session.execute(
            "create trigger changed before insert on marts.customers for each row execute function marts.changed()"
        )
    with pytest.raises(WarehouseError) as refused:
        customers.deliver(day(1), {"c": B, "d": A})
    assert str(refused.value) == (
        "marts.customers of 2025-01-02 was not published: read back from the versions, 2 rows differ from those that "
        "were put in; if the table has a trigger or a rule, drop it, and else report this as an error of kpi_assets."
    )
    assert customers.versions() == before
    assert [load_date for load_date, *_ in customers.lab.rows(PUBLISHED)] == [day(0)]


def test_the_table_has_a_primary_key_and_at_most_one_current_version_of_a_key(customers: Customers) -> None:
    customers.deliver(day(0), {"c": A})
    indexes = customers.lab.rows(
        "select pg_get_indexdef(indexrelid), indisprimary from pg_index "
        "where indrelid = 'marts.customers'::regclass order by 2 desc, 1"
    )
    unique = "CREATE UNIQUE INDEX {} ON marts.customers USING btree ({})"
    assert indexes == [
        (unique.format("customers_pkey", "customer_sk"), True),
        (unique.format("customers_customer_id_effective_date_key", "customer_id, effective_date"), False),
        (unique.format("customers_customer_id_idx", "customer_id") + " WHERE (end_date IS NULL)", False),
    ]
    again = "insert into marts.customers (customer_sk, customer_id, effective_date) values (1, 'c', '2025-02-01')"
    with customers.lab.session() as session, pytest.raises(psycopg.errors.UniqueViolation):
        session.execute(again)


def test_the_rows_of_a_load_date_are_rechecked_and_a_changed_version_is_found(customers: Customers) -> None:
    for number, row in enumerate([A, B, A]):
        customers.deliver(day(number), {"c": row, "d": A})
    context = customers.lab.prepared()
    table = context.pipeline.table(NAME)
    assert {check.name: check.metric for check in recheck(context, table, day(1)) if check.name == "as_published"} == {
        "as_published": 2
    }
    assert failed(recheck(context, table, day(1))) == {}
    with customers.lab.session() as session:
        session.execute("update marts.customers set city = 'elsewhere' where city = 'LA'")
    assert list(failed(recheck(context, table, day(1)))) == ["as_published"]
    assert failed(recheck(context, table, day(2))) == {}


def test_load_dates_of_which_no_version_is_left_are_lost(customers: Customers) -> None:
    for number in range(3):
        customers.deliver(day(2 * number), {"c": (A, B, A)[number]})
    days = [day(0), day(2), day(4)]
    table = customers.lab.pipeline().table(NAME)
    with customers.lab.session() as session:
        assert content.find_lost(session, table, days) == set()
        session.execute("delete from marts.customers where city = 'LA'")
        assert content.find_lost(session, table, days) == {day(2)}
        session.execute("delete from marts.customers where is_current")
        assert content.find_lost(session, table, days) == {day(2), day(4)}


# ---- surrogate keys

# (type, value, the value in JSON)
KEYS = [
    ("text", 'ü"\\\n\x01/', json.dumps('ü"\\\n\x01/', ensure_ascii=False)),
    ("character varying(9)", "a ", '"a "'),
    ("character(3)", "a", '"a  "'),
    ("smallint", "-1", "-1"),
    ("bigint", "9007199254740993", "9007199254740993"),
    ("numeric", "1.50", "1.50"),
    ("numeric", "NaN", '"NaN"'),
    ("real", "0.1", "0.1"),
    ("double precision", "0.30000000000000004", "0.30000000000000004"),
    ("boolean", "t", "true"),
    ("date", "2025-02-03", '"2025-02-03"'),
    ("time without time zone", "01:02:03.5", '"01:02:03.5"'),
    ("timestamp without time zone", "2025-02-03 04:05:06.7", '"2025-02-03T04:05:06.7"'),
    ("timestamp with time zone", "2025-02-03 04:05:06+09", '"2025-02-02T19:05:06+00:00"'),
    ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"'),
    ("jsonb", '{"b":1.0, "a":[]}', '{"a": [], "b": 1.0}'),
    ("integer[]", "{1,2}", "[1,2]"),
]


def test_a_surrogate_key_is_the_hash_of_key_and_day_whatever_the_defaults_of_the_role(lab: PipelineHarness) -> None:
    lab.file(
        "marts/things.sql",
        "/* @asset\ndescription: Things of all types.\nowner: team:tests\n"
        f"grain: [{', '.join(f'k{n}' for n in range(len(KEYS)))}]\nstorage: history\nhistory: {{surrogate_key: sk}}\n"
        "columns:\n"
        + "".join(f'  k{n}: {{type: "{type_}", description: Key.}}\n' for n, (type_, _, _) in enumerate(KEYS))
        + "@end */\nselect "
        + ", ".join(
            f"{sql.Literal(value).as_string()}::{type_} as k{n}" for n, (type_, value, _) in enumerate(KEYS)
        ).replace("E'", "e'"),
    )
    odd = {"timezone": "Asia/Tokyo", "datestyle": "German, DMY", "extra_float_digits": "-3"}
    with lab.session() as session:
        for name, value in odd.items():
            session.execute(f"alter database {lab.name} set {name} = '{value}'")
    assert lab.build("marts.things", DAY).versions == VersionChanges(new=1)
    with lab.session() as session:
        for name in odd:
            session.execute(f"alter database {lab.name} reset {name}")
    assert lab.rows("select sk from marts.things") == [(surrogate_key(", ".join(key for *_, key in KEYS), DAY),)]


# ---- files that change


THINGS = """\
/* @asset
description: Things of one test.
owner: team:tests
grain: [{grain}]
storage: history
history: {{surrogate_key: {key}, max_changed: 1, adds: {{{adds}}}}}
columns:
{columns}
@end */
select
    {select}
"""
COLUMNS = {"thing_id": "integer", "name": "text", "weight": "integer"}
ROW = {"thing_id": "1", "name": "'anvil'", "weight": "7"}
IS_ACTIVE = "is_active: {type: boolean, value: end_date is null, description: Whether it holds.}"


def things(
    columns: dict[str, str], row: dict[str, str], *, grain: str = "thing_id", key: str = "thing_sk", adds: str = ""
) -> str:
    """Return a file whose SELECT gives one row of SQL constants."""
    return THINGS.format(
        grain=grain,
        key=key,
        adds=adds,
        columns="\n".join(f'  {name}: {{type: "{type_}", description: Of {name}.}}' for name, type_ in columns.items()),
        select=",\n    ".join(f"{row[name]}::{type_} as {name}" for name, type_ in columns.items()),
    )


def publish(lab: PipelineHarness, text: str, load_date: date = DAY) -> BuildOutcome:
    lab.file("marts/things.sql", text)
    outcome = lab.build("marts.things", load_date)
    assert not outcome.held, outcome.results
    return outcome


def columns_of(lab: PipelineHarness) -> dict[str, str]:
    with lab.session() as session:
        return types_of(session, Relation("marts", "things"))


ADDED = {"thing_sk": "bigint", "effective_date": "date", "end_date": "date", "is_current": "boolean"}


def test_a_new_column_is_null_in_versions_of_other_load_dates_and_stays_until_none_has_it(lab: PipelineHarness) -> None:
    more, row = {**COLUMNS, "unit": "text"}, {**ROW, "unit": "'kg'"}
    publish(lab, things(COLUMNS, ROW))
    publish(lab, things(more, row), NEXT)
    assert columns_of(lab) == {**ADDED, **more}
    query = "select unit, effective_date, end_date from marts.things order by effective_date"
    assert lab.rows(query) == [(None, DAY, DAY), ("kg", NEXT, None)]

    assert publish(lab, things(COLUMNS, ROW), DAY).versions == VersionChanges()
    assert columns_of(lab) == {**ADDED, **more}, "the other load_date has the column"
    publish(lab, things(COLUMNS, ROW), NEXT)
    assert columns_of(lab) == {**ADDED, **COLUMNS}
    assert lab.rows("select effective_date, end_date from marts.things") == [(DAY, None)], "the neighbors are equal"


def test_a_type_is_widened_and_narrowed_and_neighbors_that_become_equal_are_merged(lab: PipelineHarness) -> None:
    small, exact = ({**COLUMNS, "weight": type_} for type_ in ("smallint", "numeric(8,2)"))
    publish(lab, things(small, ROW))
    publish(lab, things({**COLUMNS, "weight": "numeric"}, {**ROW, "weight": "7.125"}), date(2025, 3, 5))
    publish(lab, things(exact, ROW), NEXT)
    query = "select weight::text, effective_date, end_date from marts.things order by effective_date"
    assert columns_of(lab)["weight"] == "numeric"
    assert lab.rows(query) == [
        ("7", DAY, DAY),
        ("7.00", NEXT, date(2025, 3, 4)),
        ("7.125", date(2025, 3, 5), None),
    ]

    publish(lab, things(exact, ROW), date(2025, 3, 5))

    assert columns_of(lab)["weight"] == "numeric(8,2)"
    assert lab.rows(query) == [("7.00", DAY, None)]
    [version] = lab.rows("select thing_sk, effective_date from marts.things")
    assert version == (surrogate_key("1", DAY), DAY)


def test_the_columns_of_adds_follow_the_file(lab: PipelineHarness) -> None:
    publish(lab, things(COLUMNS, ROW))
    publish(lab, things(COLUMNS, {**ROW, "weight": "8"}, adds=IS_ACTIVE), NEXT)
    query = "select is_active from marts.things order by effective_date"
    assert lab.rows(query) == [(False,), (True,)]
    publish(lab, things(COLUMNS, {**ROW, "weight": "8"}, adds=IS_ACTIVE.replace("is null", "> '2025-01-01'")), NEXT)
    assert lab.rows(query) == [(True,), (None,)]
    as_text = IS_ACTIVE.replace("boolean", "text").replace("is null", "is null -- a comment")
    changed = things(
        COLUMNS,
        {**ROW, "weight": "8"},
        adds="\n  " + as_text.replace("value: ", 'value: "').replace(" -- a comment", '"'),
    )
    publish(lab, changed, NEXT)
    assert lab.rows(query) == [("false",), ("true",)]
    comments = lab.rows(
        "select a.attname, col_description(a.attrelid, a.attnum) from pg_attribute as a "
        "where a.attrelid = 'marts.things'::regclass and a.attnum > 0 and not a.attisdropped"
    )
    readable = lab.pipeline().table("marts.things").header.readable
    assert dict(comments) == {name: column.description for name, column in readable.items()}
    publish(lab, things(COLUMNS, {**ROW, "weight": "8"}), NEXT)
    assert columns_of(lab) == {**ADDED, **COLUMNS}


REFUSED = [
    (
        things(COLUMNS, ROW, key="number"),
        "{path}: marts.things was published with the surrogate_key thing_sk, of which its versions are made: keep "
        "it, or run `kpi drop {lab} marts.things` and backfill.",
    ),
    (
        things(COLUMNS, ROW, grain="thing_id, name"),
        "{path}: marts.things was published with the grain thing_id, of which its versions are made: keep it, or "
        "run `kpi drop {lab} marts.things` and backfill.",
    ),
    (
        things({**COLUMNS, "thing_id": "text"}, ROW),
        "{path}: a column of the grain cannot get its new type, because the surrogate keys of published versions "
        "are made of the old one: keep the type, or run `kpi drop {lab} marts.things` and backfill.",
    ),
    (
        things({**COLUMNS, "weight": "date"}, {**ROW, "weight": "'2025-01-01'"}),
        "{path}: the column 'weight' cannot become date: it is integer in 2025-03-01, published before, which "
        "would lose by that: keep the type, give the column another name, or run `kpi drop {lab} marts.things` and "
        "backfill.",
    ),
    (
        things(COLUMNS, ROW, adds=IS_ACTIVE.replace("is null", "::timestamptz is null")),
        "{path}: the columns of `adds` cannot be generated (generation expression is not immutable): correct the "
        "expression; it may use only functions that give the same for the same dates in every session.",
    ),
    (
        things(COLUMNS, ROW, adds=IS_ACTIVE.replace("end_date is null", "is_open(end_date)")),
        "{path}: the columns of `adds` cannot be generated (function is_open(date) does not exist): correct the "
        "expression; it may use only functions that give the same for the same dates in every session.",
    ),
    (
        things(
            {name: COLUMNS[name] for name in ("thing_id", "name")},
            ROW,
            adds=IS_ACTIVE.replace("is_active", "weight"),
        ),
        '{path}: the columns of `adds` of marts.things cannot be changed (column "weight" of relation "things" '
        "already exists): drop what depends on them, or give the column another name.",
    ),
    (
        things(COLUMNS, ROW).replace("storage: history\n", ""),
        "",
    ),
]


@pytest.mark.parametrize(
    ("changed", "message"),
    few(
        4,
        REFUSED,
    ),
    ids=[
        "surrogate key",
        "grain",
        "type of the grain",
        "type",
        "adds of a time zone",
        "adds with an unknown function",
        "adds of a kept column",
        "storage",
    ],
)
def test_a_change_that_published_versions_do_not_allow_is_refused(
    lab: PipelineHarness, changed: str, message: str
) -> None:
    publish(lab, things(COLUMNS, ROW))
    before = lab.rows("select * from marts.things")
    if not message:
        changed = "\n".join(line for line in changed.splitlines() if not line.startswith("history:"))
        message = (
            "{path}: marts.things was published with storage: history; to change it, run `kpi drop {lab} marts.things` "
            "and backfill."
        )
    path = lab.file("marts/things.sql", changed)
    with pytest.raises(DefinitionError) as refused:
        lab.build("marts.things", NEXT)
    assert str(refused.value) == message.format(path=path, lab=lab.name)
    assert lab.rows("select * from marts.things") == before


@pytest.mark.parametrize(
    ("index", "columns"),
    [
        ("things_thing_id_idx", "thing_id where end_date is null"),
        ("things_thing_id_effective_date_key", "thing_id, effective_date"),
    ],
)
def test_a_history_without_one_of_its_unique_indexes_is_not_published(
    lab: PipelineHarness, index: str, columns: str
) -> None:
    publish(lab, things(COLUMNS, ROW))
    drop = f"drop index marts.{index}"
    if index.endswith("_key"):
        drop = f"alter table marts.things drop constraint {index}"
    with lab.session() as session:
        session.execute(drop)
    with pytest.raises(DefinitionError) as refused:
        lab.build("marts.things", NEXT)
    assert str(refused.value) == (
        f"{lab.folder / 'marts/things.sql'}: marts.things has lost its unique index of {columns}, without which a key "
        "could have two versions at once: create it again, or run "
        f"`kpi drop {lab.name} marts.things` and backfill."
    )


def test_a_column_that_a_user_s_view_reads_stays_and_is_null(lab: PipelineHarness) -> None:
    publish(lab, things(COLUMNS, ROW, adds=IS_ACTIVE))
    with lab.session() as session:
        session.execute("create view public.ours as select weight, is_active from marts.things")
    without = {name: COLUMNS[name] for name in ("thing_id", "name")}
    with pytest.raises(DefinitionError, match=r"cannot be changed .*view public.ours depends on column is_active"):
        publish(lab, things(without, ROW))
    publish(lab, things(without, ROW, adds=IS_ACTIVE))
    assert lab.rows("select weight, effective_date, end_date from marts.things") == [(None, DAY, None)]
    publish(lab, things(without, ROW, adds=IS_ACTIVE), NEXT)
    assert lab.rows("select weight, effective_date, end_date from marts.things") == [(None, DAY, None)]
    with lab.session() as session:
        session.execute("drop view public.ours")


# (type, a value, and one that is another by few bits)
NEARLY_EQUAL = [
    ("json", """'{"a": 1}'""", """'{"a":1}'"""),
    ("jsonb", """'{"a": 1}'""", """'{"a": 1.0}'"""),
    ("double precision", "'0'", "'-0'"),
    ("real", "'NaN'", "null"),
    ("numeric", "'NaN'", "'Infinity'"),
    ("text[]", "'{a}'", "'{a,NULL}'"),
    ("character varying(9)", "'a'", "'a '"),
    ("boolean", "false", "null"),
    ("text", "repeat('x', 100000)", "repeat('x', 99999) || 'y'"),
    ("timestamp with time zone", "'2025-01-01 00:00:00.000001+00'", "'2025-01-01 00:00:00+00'"),
]


@pytest.mark.nightly
def test_values_that_are_nearly_equal_are_other_versions_whatever_their_type(lab: PipelineHarness) -> None:
    columns = {"thing_id": "integer", **{f"v{n}": type_ for n, (type_, *_) in enumerate(NEARLY_EQUAL)}}
    row = {"thing_id": "1", **{f"v{n}": value for n, (_, value, _) in enumerate(NEARLY_EQUAL)}}
    texts = ", ".join(f"{name}::text" for name in columns)
    delivered = []
    for number in range(len(NEARLY_EQUAL) + 1):
        if number:
            row[f"v{number - 1}"] = NEARLY_EQUAL[number - 1][2]
        publish(lab, things(columns, row), day(number))
        values = ", ".join(f"({row[name]}::{type_})::text" for name, type_ in columns.items())
        delivered += lab.rows(f"select {values}")
    assert len(set(delivered)) == len(NEARLY_EQUAL) + 1
    assert lab.rows(f"select {texts} from marts.things order by effective_date") == delivered


@pytest.mark.parametrize("value", ["end_date is null -- for now", "end_date /* if any */ is null"])
def test_an_expression_with_a_comment_is_refused(lab: PipelineHarness, value: str) -> None:
    lab.file("marts/things.sql", things(COLUMNS, ROW, adds=IS_ACTIVE.replace("end_date is null", f'"{value}"')))
    with pytest.raises(ModelError, match="has a comment, which could hide what comes after it"):
        lab.pipeline()


def test_a_grain_is_widened_where_its_texts_stay(lab: PipelineHarness) -> None:
    publish(lab, things(COLUMNS, ROW))
    publish(lab, things({**COLUMNS, "thing_id": "bigint"}, ROW), NEXT)
    assert columns_of(lab)["thing_id"] == "bigint"
    assert lab.rows("select thing_sk, end_date from marts.things") == [(surrogate_key("1", DAY), None)]


def test_a_table_of_rows_is_not_taken_for_a_history(lab: PipelineHarness) -> None:
    dates = {"effective_date": "date", "end_date": "date", "is_current": "boolean"}
    text = things({**COLUMNS, **dates}, {**ROW, **dict.fromkeys(dates, "null")}).replace("storage: history\n", "")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("history:"))
    assert publish(lab, text).versions is None
    assert publish(lab, text).rows == 1
    with pytest.raises(DefinitionError, match="was published with storage: rows; to change it, run `kpi"):
        publish(lab, things(COLUMNS, ROW), NEXT)


def test_only_a_publish_that_rewrites_the_table_waits_for_older_snapshots(lab: PipelineHarness) -> None:
    def swaps(text: str) -> bool:
        lab.file("marts/things.sql", text)
        table = lab.pipeline().table("marts.things")
        with lab.session() as session:
            others = tables.published_of(session, table, publishes.by_columns(session, table.relation, NEXT))
            return strategy_of(table).publish_swaps(session, table, NEXT, others)

    assert not swaps(things(COLUMNS, ROW)), "it does not exist yet"
    publish(lab, things(COLUMNS, ROW))
    assert not swaps(things(COLUMNS, ROW))
    assert not swaps(things({**COLUMNS, "unit": "text"}, {**ROW, "unit": "'kg'"}))
    assert swaps(things({**COLUMNS, "weight": "bigint"}, ROW))
    assert swaps(things(COLUMNS, ROW, adds=IS_ACTIVE))
