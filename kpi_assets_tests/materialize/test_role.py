"""The same objects and SQL give the same tables, whatever the defaults of server, database and role are."""

from psycopg import sql

from kpi_assets_tests.materialize.crash_points import THINGS
from kpi_assets_tests.pipeline_harness import DAY, RAW_THINGS, PipelineHarness

HOSTILE = {
    "search_path": "hostile, pg_catalog",
    "datestyle": "German, DMY",
    "timezone": "Asia/Kolkata",
    "intervalstyle": "sql_standard",
    "default_transaction_isolation": "serializable",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "work_mem": "64kB",
    "maintenance_work_mem": "1MB",
    "statement_timeout": "500ms",
    "lock_timeout": "1min",
    "client_encoding": "LATIN1",
    "client_min_messages": "debug5",
    "jit": "on",
    "row_security": "off",
    "array_nulls": "off",
    "enable_hashjoin": "off",
    "default_table_access_method": "heap",
    "synchronous_commit": "off",
}

THINGS_WITH_TIME = RAW_THINGS.replace(
    "  weight:",
    "  seen_on: {type: date, description: Day.}\n"
    "  seen_at: {type: timestamp with time zone, description: Instant.}\n  weight:",
)
BODY = (
    "thing_id,name,seen_on,seen_at,weight\n"
    '1,"an\\vil, ñ 辣",2025-03-04,2025-03-04 05:06:07Z,20.50\n'
    "2,feather,2025-12-31,2025-03-04 05:06:07+02,\n"
).encode()

MART = """\
/* @asset
description: What is sensitive to a session's settings.
owner: team:tests
grain: [thing_id]
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: "Name; built with a backslash."}
  local_hour: {type: text, description: "Hour as text."}
  day: {type: text, description: "Day as text."}
  share: {type: double precision, description: "A number that is not exact."}
  is_unknown: {type: boolean, description: "NULL = NULL, which is NULL."}
checks:
  reconcile: {source: raw.things}
  never_null_equal: {bad_rows: "select * from {this} where name = null"}
@end */
select
    thing_id,
    'a\\b' || name as name,
    to_char(seen_at, 'HH24:MI') as local_hour,
    seen_on::text as day,
    (1 / 3.0)::double precision * thing_id as share,
    weight = null as is_unknown
from raw.things
where load_date = %(load_date)s
"""


# It runs longer than the hostile statement_timeout.
SLOW_MART = MART.replace(
    "from raw.things\nwhere load_date", "from raw.things as t\ncross join pg_sleep(0.6) as slept\nwhere t.load_date"
)


def checksums(lab: PipelineHarness) -> list[tuple[str, int, str]]:
    for name in ("raw.things", "marts.sensitive"):
        assert not lab.build(name).held
    return lab.rows("select asset, rows, checksum from ops.published order by 1")


def test_hostile_defaults_of_the_role_change_no_table(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", THINGS_WITH_TIME)
    lab.file("marts/sensitive.sql", MART)
    lab.put(f"raw/things/load_date={DAY}/things.csv", BODY)
    expected = checksums(lab)
    assert lab.rows("select name, local_hour, day, is_unknown from marts.sensitive order by thing_id") == [
        ("a\\ban\\vil, ñ 辣", "05:06", "2025-03-04", None),
        ("a\\bfeather", "03:06", "2025-12-31", None),
    ]
    with lab.session() as session:
        set_default = sql.SQL("alter role {} in database {} set ").format(
            sql.Identifier(session.info.user), sql.Identifier(lab.name)
        )
        session.execute("create schema hostile")
        session.execute("create function hostile.to_char(timestamptz, text) returns text language sql return 'x'")
        session.execute("create table hostile.things (thing_id integer)")
        for name, value in HOSTILE.items():
            text = sql.SQL(value) if name == "search_path" else sql.Literal(value)
            session.execute(set_default + sql.SQL("{} = {}").format(sql.SQL(name), text))

    lab.file("marts/sensitive.sql", SLOW_MART)
    assert checksums(lab) == expected
    assert lab.rows(THINGS)[0][1] == "an\\vil, ñ 辣"
    assert lab.rows("select count(*) from ops.publishes") == [(4,)]
