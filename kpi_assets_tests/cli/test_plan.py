"""`kpi plan` shows what each load_date needs, and `kpi backfill --only` runs exactly that."""

import json
import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest

from kpi_assets_tests.cli.command import BUCKET, SQL, CliHarness, Output, key
from kpi_assets_tests.cli.conftest import Published

GOOD, BAD, ABSENT, HALF, NEW = (date(2025, 4, day) for day in (1, 2, 3, 4, 5))
RANGE = ("--from", GOOD, "--to", NEW)


class ThreeObjectPipeline:
    """The command on a pipeline of only three small objects, so that a run is fast."""

    def __init__(self, kpi: CliHarness, folder: Path, name: str = "shelves") -> None:
        self.kpi, self.sql, self.name = kpi, folder / "sql", name
        self.raw = self.sql / name / "raw"
        self.raw.mkdir(parents=True)
        settings = (SQL / "instacart/pipeline.yaml").read_text().partition("boards:")[0]  # it has no KPI
        (self.raw.parent / "pipeline.yaml").write_text(settings)
        for source in ("aisles", "departments", "products"):
            shutil.copy(SQL / f"instacart/raw/{source}.sql", self.raw)

    def __call__(self, command: str, *words: object, code: int = 0) -> Output:
        return self.kpi(command, self.name, *words, code=code, KPI_SQL_DIR=str(self.sql))

    def states(self, code: int = 0) -> list[str]:
        """Return the states of the load_dates from GOOD to NEW."""
        planned = json.loads(self("plan", *RANGE, "--format", "json", code=code).out)
        assert [found["load_date"] for found in planned] == [str(GOOD.replace(day=day)) for day in range(1, 6)]
        return [found["state"] for found in planned]

    def publishes(self) -> list[tuple[date, int]]:
        """Return (load_date, publish_id) of every published table."""
        return self.kpi.rows("select load_date, publish_id from ops.published order by 1, 2", database="shelves")


@pytest.fixture(scope="module")
def shelves(kpi: CliHarness, tmp_path_factory: pytest.TempPathFactory) -> ThreeObjectPipeline:
    """GOOD is published, BAD is held, ABSENT never landed, HALF lacks an object, NEW was never run."""
    opened = ThreeObjectPipeline(kpi, tmp_path_factory.mktemp("shelves"))
    files = kpi.sample(GOOD, 300)
    for day in (GOOD, BAD, HALF, NEW):
        kpi.upload(day, files)
    kpi.s3.delete_object(Bucket=BUCKET, Key=key("aisles.csv", HALF))
    aisles = (files / "aisles.csv").read_bytes()
    kpi.s3.put_object(Bucket=BUCKET, Key=key("aisles.csv", BAD), Body=aisles + aisles.splitlines(True)[-1])
    opened("backfill", "--from", GOOD, "--to", BAD, code=3)
    return opened


def test_the_plan_shows_what_is_not_published_and_why(shelves: ThreeObjectPipeline) -> None:
    said = shelves("plan", *RANGE, code=3)
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert lines[0] == "shelves: what is not published"
    assert lines[-1] == "1 published, 1 new, 1 incomplete, 1 missing, 1 held."
    text = " ".join(lines)
    place = f"s3://{BUCKET}/{key('aisles.csv', BAD)}"
    assert f"{BAD} held raw.aisles: held by grain; read from {place}; the candidate is kept as builds." in text
    assert f"{ABSENT} missing None of its 3 objects lies on S3." in text
    assert f"{HALF} incomplete 2 of its 3 objects landed; lacking: {key('aisles.csv', HALF)}." in text
    assert f"{NEW} new All 3 objects landed; nothing of it is published." in text
    assert str(GOOD) not in text


def test_the_plan_is_shown_as_json(shelves: ThreeObjectPipeline) -> None:
    found = json.loads(shelves("plan", "--from", ABSENT, "--to", ABSENT, "--format", "json").out)
    reason = "None of its 3 objects lies on S3."
    assert found == [
        {
            "load_date": str(ABSENT),
            "state": "missing",
            "reason": reason,
            "cause": None,
            "objects_landed": 0,
            "asked_from": None,
        }
    ]


@pytest.mark.nightly
def test_only_load_dates_in_the_named_states_are_run(shelves: ThreeObjectPipeline) -> None:
    before = shelves.publishes()
    done = shelves("backfill", *RANGE, "--only", "missing,stale,failed")
    assert done.out.splitlines()[-1] == "1 run; left as they were: 1 published, 1 incomplete, 1 missing, 1 held."
    after = shelves.publishes()
    assert [row for row in after if row[0] != NEW] == before
    assert len([row for row in after if row[0] == NEW]) == 3
    assert shelves.states(code=3) == ["published", "held", "missing", "incomplete", "published"]


@pytest.mark.nightly
def test_a_corrected_object_and_changed_sql_are_stale_and_are_run(shelves: ThreeObjectPipeline) -> None:
    shelves.kpi.upload(BAD, shelves.kpi.sample(GOOD, 300))
    path = shelves.raw / "departments.sql"
    path.write_text(path.read_text().replace("department_id: {type: integer", "department_id: {type: bigint"))
    assert shelves.states() == ["stale", "stale", "missing", "incomplete", "stale"]
    done = shelves("backfill", "--from", GOOD, "--to", HALF, "--only", "stale")
    assert done.out.splitlines()[-1] == "2 run; left as they were: 1 incomplete, 1 missing."
    assert shelves.states() == ["published", "published", "missing", "incomplete", "stale"]


def test_the_plan_names_the_kpis_that_are_late(kpi: CliHarness, published: Published) -> None:
    [(latest,)] = kpi.rows("select max(load_date) from ops.published where asset like 'marts.kpi%%'")
    said = kpi("plan", "instacart", "--from", published.day, "--to", published.day)
    since = f"{latest + timedelta(days=2)} 12:00 UTC"
    end = "counted from that load_date's end."
    rest = f"its latest published load_date is {latest}, and its freshness is within_hours: 36, {end}"
    of_other_tests = ("orphan", "warning")  # other tests leave tables without files, and objects that landed again
    assert [line for line in said.out.splitlines() if not line.startswith(of_other_tests)] == [
        f"late marts.kpi_orders_by_dow is late since {since}: {rest}",
        f"late marts.kpi_orders_by_dow_28d is late since {since}: {rest}",
        f"late marts.kpi_products_reorder is late since {since}: {rest}",
        "1 published.",
    ]


def test_an_unknown_state_is_wrong_usage(kpi: CliHarness) -> None:
    kpi.fails(
        "There is no state 'rotten': --only takes missing, incomplete, late, new, stale, lost, held, failed, running, "
        "growing, published, separated by commas.",
        *("backfill", "instacart", *RANGE, "--only", "stale,rotten"),
        code=2,
    )
