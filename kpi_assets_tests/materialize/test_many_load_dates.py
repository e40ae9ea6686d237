"""Tables of many load_dates or columns: a build and a reader of one load_date touch no partition of another.

`make test` makes 200 partitions, `make nightly` 1,000.
"""

from datetime import timedelta

from kpi_assets_tests.examples import ALL
from kpi_assets_tests.materialize.crash_points import await_no_session
from kpi_assets_tests.pipeline_harness import DAY, GOOD, MART, RAW_THINGS, PipelineHarness

COUNT = 1000 if ALL else 200
MANY = """
do $$ begin
for number in 1 .. {count} loop
    execute format('create table builds.other_%s (like raw.things including all)', number);
    execute format('insert into builds.other_%s select d, 1, ''anvil'', 1 from (select date ''{day}'' - %s) as n (d)',
        number, number);
    execute format('alter table raw.things attach partition builds.other_%s for values in (%L)',
        number, date '{day}' - number);
end loop;
end $$
"""
TOUCHED = (
    "select count(*) filter (where relname like 'other%'), coalesce(sum(seq_scan + coalesce(idx_scan, 0)) "
    "filter (where relname like 'other%'), 0)::int from pg_stat_user_tables where schemaname = 'builds'"
)
COLUMNS = 320
NAMES = [f"amount_{number}" for number in range(COLUMNS)]
WIDE = f"""\
/* @asset
description: A table of many columns.
owner: team:tests
grain: [thing_id]
storage: partitions
source: {{object: "raw/wide/load_date={{load_date}}/wide.csv", format: csv}}
columns:
  thing_id: {{type: integer, description: Thing.}}
{"".join(f'  {name}: {{type: "numeric(9,2)", description: Amount.}}' + chr(10) for name in NAMES)}@end */
"""


def test_a_build_and_a_reader_of_one_load_date_touch_no_partition_of_another(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", "storage: partitions\ngrain:"))
    lab.file("marts/weighed.sql", MART)
    last = DAY + timedelta(days=1)
    lab.put_things(GOOD, last)
    lab.build("raw.things", last)
    lab.build("marts.weighed", last)
    with lab.session() as session:
        session.execute(MANY.format(count=COUNT, day=DAY).encode())
        assert session.execute("select count(*) from raw.things").fetchone() == (COUNT + 2,)
    await_no_session(lab)  # a session reports what it read when it ends
    with lab.session() as session:
        session.execute("select pg_stat_reset()")
    await_no_session(lab)

    lab.put_things(GOOD.replace(b"20.50", b"21.50"), last)
    assert lab.build("raw.things", last).rows == 2
    assert lab.build("marts.weighed", last).rows == 1
    with lab.session() as reader:
        query = "select thing_id, weight::text from raw.things where load_date = %s order by 1"
        assert reader.execute(query, [last]).fetchall() == [(1, "21.50"), (2, None)]

    await_no_session(lab)
    assert lab.rows(TOUCHED) == [(COUNT, 0)]
    assert lab.rows("select count(*), sum(weight)::text from raw.things") == [(COUNT + 2, f"{COUNT + 21.5:.2f}")]


def test_a_table_of_hundreds_of_columns_is_published_whole(lab: PipelineHarness) -> None:
    lab.file("raw/wide.sql", WIDE)
    rows = [[str(number), *(f"{number}.{column % 100:02}" for column in range(COLUMNS))] for number in range(1, 41)]
    body = "".join(",".join(row) + "\n" for row in [["thing_id", *NAMES], *rows])
    lab.put(f"raw/wide/load_date={DAY}/wide.csv", body.encode())
    outcome = lab.build("raw.wide")
    assert (outcome.held, outcome.rows) == (False, 40)
    texts = ", ".join(f"{name}::text" for name in NAMES)
    assert lab.rows(f"select thing_id::text, {texts} from raw.wide as w order by w.thing_id") == [
        tuple(row) for row in rows
    ]
