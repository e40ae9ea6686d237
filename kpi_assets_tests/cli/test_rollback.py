"""`kpi publishes` and `kpi rollback`: what readers saw is listed, compared and shown again; what came after is held."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.materialize.kept_pipeline import MEASURED, PARTITIONED, ROLLBACK, SHOWN, things
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML, RAW_THINGS
from kpi_assets_tests.two_source_pipeline import LABELS, RAW_LABELS

NAME, BUCKET, DAY = "rolled", "kpi-rolled", date(2025, 4, 7)
REASON = "the tills of a shop were wrong"
FILES = {
    "raw/things": RAW_THINGS,
    "raw/labels": RAW_LABELS,
    "marts/weighed": PARTITIONED,
    "marts/heavy": MEASURED,
    "marts/shown": SHOWN,
}


@pytest.fixture(scope="module")
def files(kpi: CliHarness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a pipeline that keeps what readers saw."""
    sql = tmp_path_factory.mktemp("rolled") / "sql"
    for name, text in FILES.items():
        path: Path = sql / NAME / f"{name}.sql"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (sql / NAME / "pipeline.yaml").write_text(PIPELINE_YAML.format(bucket=BUCKET) + ROLLBACK)
    kpi.stack.make_bucket(BUCKET)
    yield {"KPI_SQL_DIR": str(sql)}


def deliver(kpi: CliHarness, files: dict[str, str], weight: float, code: int = 0) -> None:
    """Land things of a weight, and run the load_date."""
    for name, body in (("things", things(weight)), ("labels", LABELS)):
        kpi.s3.put_object(Bucket=BUCKET, Key=f"raw/{name}/load_date={DAY}/{name}.csv", Body=body)
    kpi("run", NAME, "--load-date", DAY, code=code, **files)


def test_the_story_of_a_rollback(kpi: CliHarness, files: dict[str, str]) -> None:
    listed = ("publishes", NAME, "--load-date", DAY)
    assert "Nothing of rolled of 2025-04-07 was ever published in" in kpi(*listed, **files).out
    deliver(kpi, files, 20.5)
    deliver(kpi, files, 30)
    found = json.loads(kpi(*listed, "marts.weighed", "--format", "json", **files).out)
    assert [(each["rows"], each["state"], each["cause"]) for each in found] == [
        (1, "kept", None),
        (1, "shown", "objects"),
    ]
    first, second = (each["publish"] for each in found)
    assert first < second
    compared = kpi("diff", NAME, "marts.weighed", "--load-date", DAY, "--publish", first, second, **files)
    assert "0 came, 0 went, 1 changed (weight 1), 0 unchanged." in compared.line("0 came")
    kpi.fails(
        "marts.shown stores no rows: ask for marts.weighed, which it shows.", *listed, "marts.shown", code=2, **files
    )

    words = ("rollback", NAME, "--load-date", DAY, "--to", first)
    kpi.fails(
        "The reason has fewer than 10 characters: write with --reason why, for whoever reads it later.",
        *(*words, "--reason", "because", "--yes"),
        code=2,
        **files,
    )
    kpi.fails(
        "Say to which state to roll back: give one of --as-of, --before and --to.",
        *("rollback", NAME, "--load-date", DAY, "--reason", REASON),
        code=2,
        **files,
    )
    asked = kpi(*words, "--reason", REASON, code=2, **files)
    assert "Nobody answered, so nothing was rolled back: give --yes to roll it back." in asked.err
    assert "20.50" in asked.line("marts.heavy", "heaviest")
    assert "30.00" in asked.line("marts.heavy", "heaviest")
    assert "What is there now of raw.things is kept out from then on, until something new comes." in asked.out
    done = kpi(*words, "--reason", REASON, "--by", "ana", "--yes", **files)
    assert done.line("rolled back", "tables").startswith(f"rolled back 3 tables of {DAY} to what readers saw")
    assert "what was there is kept out (ruling 1)" in done.line("held raw.things")
    assert "20.50" in kpi("show", NAME, "marts.heavy", "--format", "csv", **files).out
    shown = " ".join(kpi("show", NAME, "marts.heavy", **files).out.split())
    assert "was rolled back to what it was before" in shown


@pytest.mark.nightly
def test_what_was_rolled_back_is_held_until_something_new_comes(kpi: CliHarness, files: dict[str, str]) -> None:
    listed = ("publishes", NAME, "--load-date", DAY)
    first = json.loads(kpi(*listed, "marts.weighed", "--format", "json", **files).out)[0]["publish"]
    words = ("rollback", NAME, "--load-date", DAY, "--to", first)
    [planned] = json.loads(kpi("plan", NAME, "--format", "json", code=3, **files).out)
    assert planned["state"] == "held"
    assert planned["reason"].startswith(f"raw.things: rolled back by ana: {REASON}.")
    deliver(kpi, files, 30, code=3)
    found = json.loads(kpi(*listed, "marts.weighed", "--format", "json", **files).out)
    assert [(each["state"], each["restores"], each["cause"]) for each in found] == [
        ("shown", None, None),
        ("kept", None, "objects"),
        ("shown", first, "rollback"),
    ]
    kept = kpi("retention", NAME, **files)
    assert "1" in kept.line("marts.weighed")
    again = kpi(*words, "--reason", REASON, "--yes", code=1, **files)
    assert "there is nothing to roll back." in again.err
    deliver(kpi, files, 25)
    assert "25.00" in kpi("show", NAME, "marts.heavy", "--format", "csv", **files).out
    [planned] = json.loads(kpi("plan", NAME, "--format", "json", **files).out)
    assert planned["state"] == "published"
