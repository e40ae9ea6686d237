"""The doctor compares the stored rows with the ledger and with the files."""

import shutil
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from kpi_assets.doctor import content, lake, warehouse
from kpi_assets.errors import UserError
from kpi_assets.settings import settings
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import DAY, GOOD, MART, NEXT, RAW_THINGS, PipelineHarness
from kpi_assets_tests.s3_proxy import faulty


@pytest.fixture(params=few(1, ["rows", "partitions"]))
def published(lab: PipelineHarness, request: pytest.FixtureRequest) -> PipelineHarness:
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", f"storage: {request.param}\ngrain:"))
    lab.file("marts/weighed.sql", MART)
    for day in (DAY, NEXT):
        lab.put_things(GOOD.replace(b"anvil", b"anvil %d" % day.day), day)
        lab.build("raw.things", day)
        lab.build("marts.weighed", day)
    return lab


def findings(lab: PipelineHarness, *, deep: bool = False) -> list[tuple[str, str]]:
    """Return the findings about the database of the pipeline, without the one about the version of ops."""
    found = warehouse.server(lab.server, [lab.pipeline()], embedded=True, deep=deep)
    return [(each.state, each.text) for each in found if each.subject == f"database {lab.name}"][1:]


def execute(lab: PipelineHarness, statement: str) -> None:
    with lab.session() as session:
        session.execute(statement.encode())


def test_the_doctor_says_that_all_published_rows_are_there(published: PipelineHarness) -> None:
    there = "all that is published (4 load_dates of tables)"
    assert findings(published) == [("ok", f"{there} is there; --deep compares the rows too")]
    assert findings(published, deep=True) == [("ok", f"{there} has the rows and checksum of the ledger")]


def test_a_changed_value_is_found_by_the_checksum(published: PipelineHarness) -> None:
    execute(published, f"update raw.things set name = 'ANVIL' where thing_id = 1 and load_date = '{DAY}'")
    assert [state for state, _ in findings(published)] == ["ok"], "without --deep no row is read"
    assert findings(published, deep=True) == [
        (
            "broken",
            "raw.things of 2025-03-01: the rows differ from what was published: somebody changed them; run it again",
        )
    ]


def test_a_row_that_is_gone_is_found_by_the_count(published: PipelineHarness) -> None:
    execute(published, "delete from raw.things where thing_id = 1")
    assert findings(published, deep=True) == [
        (
            "broken",
            "raw.things of 2025-03-01: 1 rows are stored, and 2 were published: somebody changed them; run it again; "
            "1 more load_dates of it differ",
        )
    ]


@pytest.mark.parametrize(
    ("statement", "which"),
    few(
        2,
        [
            ("drop schema raw cascade", "of 2025-03-01 and of 1 more load_dates"),
            ("drop table raw.things", "of 2025-03-01 and of 1 more load_dates"),
            ("delete from raw.things where load_date = '2025-03-02'", "of 2025-03-02"),
        ],
    ),
)
def test_rows_that_are_gone_are_lost(published: PipelineHarness, statement: str, which: str) -> None:
    if "delete" in statement and "partitions" in (published.folder / "raw/things.sql").read_text():
        [(partition,)] = published.rows(
            f"select tableoid::regclass::text from raw.things where load_date = '{NEXT}' limit 1"
        )
        statement = f"drop table {partition}"
    execute(published, statement)
    if "schema" in statement:
        published.prepared()
    assert findings(published) == [
        (
            "broken",
            f"the rows of raw.things {which} are gone, although the ledger says they are published: "
            f"`kpi backfill {published.name} --from {which[3:13]} --to {NEXT} --only lost` builds them again",
        )
    ]
    with pytest.raises(UserError, match=r"the rows of raw\.things of 2025-03-02 are gone from the database; `kpi run "):
        published.build("marts.weighed", NEXT)
    published.build("raw.things", NEXT)
    assert published.build("marts.weighed", NEXT).rows == 1


def of_objects(lab: PipelineHarness) -> list[tuple[str, str]]:
    return [(each.state, each.text) for each in content.objects(settings(), lab.pipeline())]


def test_an_object_that_rotted_is_found_by_reading_it(published: PipelineHarness) -> None:
    assert of_objects(published) == [("ok", "the 2 objects of published load_dates have the bytes that were read")]
    key = f"raw/things/load_date={DAY}/things.csv"
    body = published.s3.get_object(Bucket=published.bucket, Key=key)["Body"].read()
    with faulty(settings().s3_endpoint_url or "") as proxy:
        proxy.rots(published.bucket, key, body, b"anvil", b"anvim")
        found = content.objects(settings().model_copy(update={"s3_endpoint_url": proxy.url}), published.pipeline())
        [(state, text)] = [(each.state, each.text) for each in found]
    assert state == "broken"
    assert text.startswith(f"s3://{published.bucket}/{key} ")
    assert [state for state, _ in findings(published, deep=True)] == ["ok"], "the rows are the published ones"


def test_each_of_several_objects_is_read(lab: PipelineHarness) -> None:
    key = "raw/things/load_date={load_date}/things"
    lab.file("raw/things.sql", RAW_THINGS.replace(f"{key}.csv", f"'{key}-*.csv'"))
    folder = f"raw/things/load_date={DAY}"
    for name, weight in (("a", b"20.50"), ("b", b"20.51")):
        body = GOOD.replace(b"20.50", weight).replace(b"\n1", b"\n%d" % ord(name)).replace(b"\n2", b"\n9%d" % ord(name))
        lab.put(f"{folder}/things-{name}.csv", body)
    lab.build("raw.things")
    [found] = content.objects(settings(), lab.pipeline())
    assert found.text == "the 2 objects of published load_dates have the bytes that were read"
    lab.put(f"{folder}/things-b.csv", GOOD)
    assert next(content.objects(settings(), lab.pipeline())).text == (
        f"s3://{lab.bucket}/{folder}/things-b.csv was replaced since it was published: see `kpi plan {lab.name}`"
    )


def test_a_reference_object_that_was_overwritten_is_advice(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("raw/things/load_date={load_date}/things.csv", "raw/things.csv"))
    lab.put("raw/things.csv", GOOD)
    lab.build("raw.things")
    lab.put("raw/things.csv", GOOD.replace(b"20", b"21"))
    first, _ = content.objects(settings(), lab.pipeline())
    assert (first.state, first.text.partition(" since")[0]) == (
        "advice",
        f"s3://{lab.bucket}/raw/things.csv was overwritten",
    )


def test_a_pattern_that_matches_nothing_on_a_landed_day_is_advice(lab: PipelineHarness) -> None:
    day = datetime.now(timezone.utc).date() - timedelta(days=1)
    lab.file(
        "raw/others.sql", RAW_THINGS.replace("raw/things/load_date={load_date}/things.csv", "'raw/o/{load_date}.csv'")
    )
    lab.file("raw/things.sql", RAW_THINGS.replace("things/load_date={load_date}/things.csv", "t/{load_date}/t-*.csv"))
    lab.put(f"raw/o/{day}.csv", GOOD)
    lab.put(f"raw/t/{day}/T-1.csv", GOOD)
    texts = [each.text for each in lake.bucket(settings(), lab.pipeline(), landing=False)]
    assert texts[-1] == (
        f"no object matches raw/t/{day}/t-*.csv of raw.things, although others of {day} landed; near it lies "
        f"raw/t/{day}/T-1.csv"
    )
    lab.put(f"raw/t/{day}/t-1.csv", GOOD)
    assert len(list(lake.bucket(settings(), lab.pipeline(), landing=False))) == len(texts) - 1


def test_a_warning_is_named(published: PipelineHarness) -> None:
    published.put_things(GOOD.replace(b"feather", b"a large feather").removesuffix(b"\n"), NEXT)
    published.build("raw.things", NEXT)
    found = [text for state, text in findings(published) if state == "advice"]
    checks = f"(a warning): `kpi checks {published.name}` prints the rows"
    assert len(found) == 1
    assert found[0].startswith("ends_with_line_end of s3.things of 2025-03-02: ")
    assert found[0].endswith(checks)


def test_a_table_that_no_file_describes_is_named(published: PipelineHarness) -> None:
    (published.folder / "marts/weighed.sql").unlink()
    assert findings(published)[1:] == [
        (
            "advice",
            "no file describes marts.weighed (2 load_dates from 2025-03-01 to 2025-03-02, 2 rows), which readers still "
            f"see: put the file back, or run `kpi drop {published.name} marts.weighed`",
        )
    ]


def test_a_pipeline_whose_folder_is_gone_is_named_with_its_open_incidents(published: PipelineHarness) -> None:
    published.put_things(GOOD.replace(b"2,feather", b"1,feather"), NEXT)
    assert published.build("raw.things", NEXT).held
    other: Any = shutil.move(published.folder, published.root.parent / "away")
    found = list(warehouse.server(published.server, [], embedded=True))
    shutil.move(other, published.folder)
    assert [(each.state, each.text) for each in found if each.subject == f"database {published.name}"] == [
        (
            "advice",
            "no folder below KPI_SQL_DIR describes it any more; it has 2 published tables and 1 open incidents: "
            "put the folder back, or drop the database",
        )
    ]


def test_measures_that_were_changed_since_are_advice(published: PipelineHarness) -> None:
    words = "kpi: {chart: {x: thing_id, y: weight}, measures: {things: {title: Things, value: count(*)}}}\n@end"
    published.file("marts/weighed.sql", MART.replace("@end", words))
    published.build("marts.weighed", NEXT)
    assert (
        "advice",
        "measures of 1 load_dates of KPIs were added or changed since they were published: "
        f"`kpi measures {published.name} --refresh` computes their values",
    ) in findings(published)


def test_the_doctor_says_what_is_kept_for_a_rollback(lab: PipelineHarness) -> None:
    yaml = lab.folder / "pipeline.yaml"
    plain = yaml.read_text()
    yaml.write_text(plain + "rollback: {keep: 2}\n")
    lab.file("raw/things.sql", RAW_THINGS)
    for weight in (b"20.50", b"21.50"):
        lab.put_things(GOOD.replace(b"20.50", weight))
        lab.build("raw.things")
    [(relation, size)] = lab.rows("select relation, size_bytes from ops.versions where relation is not null")
    said = f"1 earlier contents are kept for a rollback, {size / 1e6:,.1f} MB (raw.things 1)"
    assert ("ok", said) in findings(lab)
    yaml.write_text(plain)
    due = f"1 of them are kept for longer than the files say: `kpi retention {lab.name} --drop` drops them"
    assert ("advice", due) in findings(lab)
    execute(lab, f"drop table {relation}")
    gone = f"rows of raw.things of {DAY} that were kept for a rollback are gone from the database ({relation}): no "
    assert ("broken", f"{gone}rollback can show them again") in findings(lab)
