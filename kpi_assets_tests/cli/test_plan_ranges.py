"""`kpi plan` of more than a year is at most a screen long: neighbors that need the same are one line."""

import json
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Json

from kpi_assets.cli.plan_ranges import SCREEN, Range, fitting
from kpi_assets.ledger.recorded import ObjectState
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_pipelines
from kpi_assets.plan.status import LoadDateStatus, State
from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.pipeline_harness import DOUBLED, GOOD, MART, PIPELINE_YAML, RAW_THINGS

NAME, BUCKET, FIRST = "yearly", "kpi-yearly", date(2025, 1, 1)
HOLIDAYS = "2025-01-01\n2025-04-18  # Good Friday\n2025-04-21\n2025-05-01\n2025-12-25\n2025-12-26\n2026-01-01\n"
OTHERS = RAW_THINGS.replace("raw/things", "raw/others").replace("things.csv", "others.csv")
HELD = [date(2025, 3, 4), date(2025, 3, 5), date(2025, 3, 6), date(2025, 9, 16)]
MISSING = date(2025, 7, 14), date(2025, 8, 1)
LACKING = [date(2025, 10, 6), date(2025, 10, 13), date(2025, 11, 24)]


def body(day: date) -> bytes:
    return (DOUBLED if day in HELD else GOOD).replace(b"anvil", f"anvil of {day}".encode())


class YearlyPipeline:
    """A pipeline of weekdays with a source of Mondays, on which 365 load_dates have passed."""

    def __init__(self, kpi: CliHarness, folder: Path) -> None:
        self.kpi, self.sql = kpi, folder / "sql"
        for name, text in {
            "pipeline.yaml": PIPELINE_YAML.format(bucket=BUCKET) + "calendar: {every: weekday, except: days.txt}\n",
            "days.txt": HOLIDAYS,
            "raw/things.sql": RAW_THINGS,
            "raw/others.sql": OTHERS.replace("format: csv", "format: csv\n  every: monday"),
            "marts/weighed.sql": MART,
        }.items():
            path = self.sql / NAME / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.pipeline = load_pipelines(self.sql)[NAME]
        self.days = [*self.pipeline.calendar.between(FIRST, FIRST + timedelta(days=600))][:365]

    def __call__(self, *words: object, code: int = 0) -> str:
        return self.kpi(words[0], NAME, *words[1:], code=code, KPI_SQL_DIR=str(self.sql)).out

    def land(self) -> None:
        self.kpi.stack.make_bucket(BUCKET)
        for day in self.days:
            if not MISSING[0] <= day <= MISSING[1]:
                self.put("things", day, body(day))
                if day.weekday() == 0 and day not in LACKING:
                    self.put("others", day, GOOD)

    def put(self, table: str, day: date, content: bytes) -> None:
        key = f"raw/{table}/load_date={day}/{table}.csv"
        self.kpi.s3.put_object(Bucket=BUCKET, Key=key, Body=content)

    def publish(self, *unpublished: date) -> None:
        """Record the landed load_dates as published without rows, as if each had been run; a run takes a second."""
        page = self.kpi.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        objects = {entry["Key"]: entry for each in page for entry in each["Contents"]}
        with psycopg.connect(self.kpi.url(NAME), autocommit=True) as connection:
            for day in self.days:
                names = [str(table.relation) for table in self.pipeline.due_tables(day)]
                landed = {
                    name.partition(".")[2]: ObjectState.of(key, entry["Size"], entry["ETag"])
                    for name in names
                    if (entry := objects.get(key := self.key(name, day)))
                }
                if len(landed) < sum(name.startswith("raw.") for name in names) or day in unpublished:
                    continue
                for name, state in landed.items():
                    connection.execute(
                        "insert into ops.manifests (object, load_date, bucket, key, size_bytes, etag, last_modified, "
                        "manifest_hash, run_id) values (%s, %s, %s, %s, %s, %s, now(), %s, 'r')",
                        [name, day, BUCKET, *state, f"{name} {day}"],
                    )
                record(connection, self.pipeline, day, names)

    @staticmethod
    def key(name: str, day: date) -> str:
        table = name.partition(".")[2]
        return f"raw/{table}/load_date={day}/{table}.csv"


def record(
    connection: "psycopg.Connection[tuple[object, ...]]", pipeline: Pipeline, day: date, names: list[str]
) -> None:
    for name in names:
        connection.execute(
            "insert into ops.publishes (asset, load_date, build_id, run_id, manifest_hash, code_version, rows, "
            "checksum, size_bytes, inputs, columns) values (%s, %s, 1, 'r', %s, %s, 0, '0', 0, '{}', %s)",
            [name, day, f"{name.partition('.')[2]} {day}", pipeline.table(name).code_version, Json([])],
        )


@pytest.fixture(scope="module")
def yearly(kpi: CliHarness, tmp_path_factory: pytest.TempPathFactory) -> YearlyPipeline:
    opened = YearlyPipeline(kpi, tmp_path_factory.mktemp("yearly"))
    opened.land()
    for day in HELD:
        opened("run", "--load-date", day, code=3)
    opened.publish(*HELD, *opened.days[-7:])
    return opened


@pytest.mark.nightly
def test_a_plan_of_365_load_dates_with_a_calendar_is_a_screen_long(yearly: YearlyPipeline) -> None:
    last = yearly.days[-1]
    said = yearly("plan", "--from", FIRST, "--to", last, code=3)
    lines = [line.rstrip() for line in said.splitlines()]
    place = f"s3://{BUCKET}/raw/things/load_date=2025-09-16/things.csv"
    candidate = next(line.split()[2] for line in lines if line.split()[:2] == ["kept", "as"])
    lacking = "1 of its 2 objects landed; lacking: raw/others/load_date={0}/others.csv."
    assert lines == [
        "yearly: what is not published",
        "",
        " load_date                       state        why",
        f" {'─' * 158}",
        " 2025-03-04 to 2025-03-06 (3)    held         raw.things: held by grain.",
        " 2025-07-14 to 2025-08-01 (15)   missing      None of its objects lies on S3.",
        f" 2025-09-16                      held         raw.things: held by grain; read from {place}; the candidate is",
        f"{' ' * 46}kept as {candidate} Its inputs, SQL and checks have not changed since.",
        f" 2025-10-06                      incomplete   {lacking.format('2025-10-06')}",
        f" 2025-10-13                      incomplete   {lacking.format('2025-10-13')}",
        f" 2025-11-24                      incomplete   {lacking.format('2025-11-24')}",
        " 2026-05-27 to 2026-06-04 (7)    new          All of its objects landed; nothing of it is published.",
        "",
        "`kpi plan yearly --format json` has the whole reason of each load_date.",
        "336 published, 7 new, 3 incomplete, 15 missing, 4 held.",
    ]


@pytest.mark.nightly
def test_an_object_of_a_day_on_which_it_is_not_due_is_named(yearly: YearlyPipeline) -> None:
    saturday, tuesday = date(2025, 1, 4), date(2025, 1, 7)
    yearly.put("things", saturday, GOOD)
    yearly.put("others", saturday, GOOD)
    yearly.put("others", tuesday, GOOD)
    said = yearly("plan", "--from", FIRST, "--to", date(2025, 1, 31))
    change = "change the calendar if it should be due."
    assert [line for line in said.splitlines() if line.startswith("not due")] == [
        "not due raw/others/load_date=2025-01-07/others.csv and 1 earlier object landed for days on which raw.others "
        f"is not due: nothing reads them; {change}",
        "not due raw/things/load_date=2025-01-04/things.csv landed for 2025-01-04, a Saturday, on which raw.things "
        f"is not due: nothing reads it; {change}",
    ]


@pytest.mark.nightly
def test_a_backfill_passes_over_what_is_not_due(yearly: YearlyPipeline) -> None:
    days = yearly.days[-2:]
    said = yearly("backfill", "--from", days[0] - timedelta(days=4), "--to", days[1], "--only", "new")
    assert said.splitlines()[-2:] == ["4 run.", "2 days of the range are not due"]


def test_what_is_not_due_cannot_be_shown(yearly: YearlyPipeline) -> None:
    yearly.kpi.fails(
        "It cannot be shown: raw.others is not due on 2025-01-07, a Tuesday: the object of raw.others comes every "
        f"monday ({yearly.sql}/{NAME}/raw/others.sql).",
        *("show", NAME, "raw.others", "--load-date", "2025-01-07"),
        KPI_SQL_DIR=str(yearly.sql),
    )
    yearly.kpi.fails(
        "It cannot be shown: raw.others is not due on 2024-12-30, a Monday: the first load_date is 2025-01-01.",
        *("show", NAME, "raw.others", "--load-date", "2024-12-30"),
        KPI_SQL_DIR=str(yearly.sql),
    )


@pytest.mark.nightly
def test_the_status_of_a_load_date_counts_only_what_is_due(yearly: YearlyPipeline) -> None:
    yearly("run", "--load-date", yearly.days[-3])
    said = yearly.kpi("status", KPI_SQL_DIR=str(yearly.sql)).out
    cells = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.startswith(" 202")}
    assert yearly.days[-3].weekday() != 0
    assert cells[str(yearly.days[-3])] == ["published", "published", "published"]
    assert cells["2025-03-04"] == ["published", "held:", "things", "missing"]


def test_a_run_of_what_is_not_due_is_refused_with_the_reason(yearly: YearlyPipeline) -> None:
    path, sql = yearly.sql / NAME, str(yearly.sql)
    yearly.kpi.fails(
        f"yearly has no load_date 2025-01-04, a Saturday: its calendar is every weekday, except the dates of days.txt "
        f"(calendar in {path}/pipeline.yaml); if something did come on that day, change the calendar first.",
        *("run", NAME, "--load-date", "2025-01-04"),
        code=2,
        KPI_SQL_DIR=sql,
    )
    yearly.kpi.fails(
        "raw.others is not due on 2025-01-07, a Tuesday: the object of raw.others comes every monday "
        f"({path}/raw/others.sql).",
        *("run", NAME, "--load-date", "2025-01-07", "--select", "s3.others,raw.others"),
        code=2,
        KPI_SQL_DIR=sql,
    )


@pytest.mark.nightly
def test_json_lists_each_load_date(yearly: YearlyPipeline) -> None:
    found = json.loads(yearly("plan", "--from", FIRST, "--to", yearly.days[-1], "--format", "json", code=3))
    assert [each["load_date"] for each in found] == [str(day) for day in yearly.days]
    assert found[0].keys() == {"load_date", "state", "reason", "cause", "objects_landed", "asked_from"}


def status(number: int, state: State, reason: str = "", summary: str = "") -> LoadDateStatus:
    return LoadDateStatus(FIRST + timedelta(days=number), state, reason, 0, summary=summary)


def texts(ranges: list[Range]) -> list[str]:
    return [f"{each.load_dates} {each.state} {each.why}" for each in ranges]


def test_neighbors_share_a_line_if_their_reasons_are_of_one_kind() -> None:
    statuses = [
        *(status(n, "missing", f"None of its {n} objects.", "None of its objects.") for n in range(3)),
        *(status(n, "new", "All.", "All.") for n in (3, 4)),
        status(5, "published"),
        status(6, "new", "All.", "All."),
        status(7, "held", "things of 7", "things"),
        status(8, "held", "things of 8", "things"),
        status(9, "held", "labels of 9", "labels"),
    ]
    whole = [
        "2025-01-01 to 2025-01-03 (3) missing None of its objects.",
        "2025-01-04 to 2025-01-05 (2) new All.",
        "2025-01-07 new All.",
        "2025-01-08 to 2025-01-09 (2) held things",
        "2025-01-10 held labels of 9",
    ]
    assert texts(fitting(statuses, len)) == whole
    assert texts(fitting(statuses, lambda ranges: SCREEN + sum("of" in each.why for each in ranges)))[-1:] == [
        "2025-01-10 held labels"
    ]


def test_load_dates_of_one_kind_share_a_line_where_the_lines_would_fill_more_than_a_screen() -> None:
    statuses = [status(n, "missing" if n % 7 else "held", f"reason {n}", "kind") for n in range(365)]
    assert texts(fitting(statuses, len)) == [
        "53 from 2025-01-01 to 2025-12-31 held kind",
        "312 from 2025-01-02 to 2025-12-30 missing kind",
    ]
