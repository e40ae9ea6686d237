"""The calls that the UI makes: launch one partition, watch it, read its check results; and a clean end."""

import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psutil
import psycopg
import pytest

from kpi_assets_tests.e2e.web import Web
from kpi_assets_tests.machine import HOURS, PATIENCE, eventually, is_alive
from kpi_assets_tests.modes import CLOSED, open_to_others
from kpi_assets_tests.test_readme import new_kpi

GOOD, BAD = "2025-05-01", "2025-05-02"

RETRIES = """
query Retries($root: String!) {
  runsOrError(filter: {tags: [{key: "dagster/root_run_id", value: $root}]}) { ... on Runs { results { runId } } }
}
"""
RELOAD = """
mutation Reload($location: String!) {
  reloadRepositoryLocation(repositoryLocationName: $location) {
    __typename
    ... on WorkspaceLocationEntry { loadStatus }
    ... on PythonError { message }
  }
}
"""
FAILURES = """
query Failures($id: ID!) {
  logsForRun(runId: $id) {
    ... on EventConnection { events { ... on ExecutionStepFailureEvent { stepKey failureMetadata { description } } } }
  }
}
"""
TERMINATE = """
mutation Terminate($id: String!) { terminateRun(runId: $id) { __typename } }
"""


@pytest.fixture(scope="module", autouse=True)
def _landed(web: Web, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A good and a bad day."""
    for day, faults in ((GOOD, []), (BAD, ["duplicate_line", "reordered_7"])):
        web.land(day, tmp_path_factory.mktemp("landed"), faults)


def test_a_good_partition_is_published_and_its_checks_can_be_read(web: Web) -> None:
    assert web.materialize(GOOD) == "SUCCESS"
    found = web.check("marts.fact_orders", "reconcile", GOOD)
    assert (found["status"], found["evaluation"]["success"]) == ("SUCCEEDED", True)
    assert found["evaluation"]["description"] == "2000 rows of stg.stg_orders = 2000 here"
    assert GOOD in web.materialized("marts.kpi_orders_by_dow")
    shown = web.kpi("show", "instacart", "marts.kpi_orders_by_dow", "--format", "json")
    assert sum(row["total_orders"] for row in json.loads(shown.stdout)) == 2000


def test_the_address_with_the_token_can_be_printed_again(web: Web) -> None:
    assert web.link == f"{web.address}/?token={web.token}"
    assert len(web.token or "") == 32
    assert web.kpi("url").stdout == f"{web.link}\n"
    again = web.kpi("up")
    assert (again.returncode, "`kpi url` prints its address" in again.stderr) == (1, True)
    assert web.token not in again.stdout + again.stderr + web.kpi("status").stdout
    logs = [path.read_text() for path in (Path(web.environment["KPI_HOME"]) / "logs").iterdir()]
    assert [text for text in logs if str(web.token) in text] == []


def test_nothing_is_imported_from_the_folder_in_which_it_was_started(web: Web) -> None:
    """By now every part has run: the web UI, the daemon, their code servers, and a run."""
    assert web.imported() == []
    parts = parts_of(web)
    assert len(parts) >= 4, "the web UI, the daemon, and a code server of each"
    run = Path(web.environment["KPI_HOME"]) / "run"
    assert {part.folder for part in parts} == {str(run)}
    assert {part.environment.get("PYTHONSAFEPATH") for part in parts} == {"1"}
    trees = {Path(part.environment["KPI_SQL_DIR"]) for part in parts}
    assert ({tree.is_absolute() for tree in trees}, {str(tree.resolve()) for tree in trees}) == (
        {True},
        {web.environment["KPI_SQL_DIR"]},
    ), "the same tree, which was named by a relative path"
    assert (run.stat().st_mode & 0o777, run.stat().st_uid) == (0o700, os.geteuid())


@dataclass(frozen=True)
class Part:
    """A Python process of `kpi up`: the folder it runs in, and its environment."""

    folder: str
    environment: dict[str, str]


def parts_of(web: Web) -> list[Part]:
    parts = []
    for process in psutil.Process(web.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a run or a probe may end at any time
            if "python" in process.name():
                parts.append(Part(process.cwd(), process.environ()))
    return parts


@pytest.mark.nightly
@pytest.mark.parametrize("partition", ["the future", "2025-5-1"])
def test_a_load_date_that_may_not_be_built_is_refused_in_the_ui_too(web: Web, partition: str) -> None:
    future = datetime.now(timezone.utc).date() + timedelta(days=3)  # it still is when the tests run past midnight
    sentences = {
        "the future": f"The load_date {future} lies in the future: today is 20",
        "2025-5-1": "The run's partition '2025-5-1' is no load_date: write it as YYYY-MM-DD.",
    }
    s3 = web.s3()
    for found in s3.list_objects_v2(Bucket="kpi-instacart", Prefix="raw/")["Contents"]:
        if f"/load_date={GOOD}/" in found["Key"]:
            body = s3.get_object(Bucket="kpi-instacart", Key=found["Key"])["Body"].read()
            s3.put_object(Bucket="kpi-instacart", Key=found["Key"].replace(GOOD, str(future)), Body=body)
    run_id = web.launch(str(future) if partition == "the future" else partition)
    assert web.final_status(run_id) == "FAILURE"
    events = web.ask(FAILURES, {"id": run_id})["logsForRun"]["events"]
    [told] = {event["failureMetadata"]["description"] for event in events if event.get("failureMetadata")}
    assert told.startswith(sentences[partition])
    status = web.kpi("status", "--all").stdout
    assert str(future) not in status, "nothing about it is recorded"
    shown = web.kpi("show", "instacart", "marts.kpi_orders_by_dow", "--load-date", str(future))
    assert f"marts.kpi_orders_by_dow is not due yet on {future}" in shown.stderr


def test_a_bad_partition_is_held_and_downstream_tables_do_not_get_past_the_gate(web: Web) -> None:
    assert web.materialize(BAD) == "CANCELED"
    grain = web.check("raw.order_products_prior", "grain", BAD)
    assert (grain["status"], grain["evaluation"]["partition"]) == ("FAILED", BAD)
    entries = {entry["label"]: entry.get("floatValue") for entry in grain["evaluation"]["metadataEntries"]}
    assert (entries["metric"], entries["threshold"]) == (1.0, 0.0)
    assert web.check("raw.order_products_prior", "accepted_values__reordered", BAD)["status"] == "FAILED"
    assert web.check("raw.order_products_prior", "rows_accounted", BAD)["status"] == "SUCCEEDED"

    assert web.materialize(BAD, names=[["marts", "fact_orders"]]) == "FAILURE"

    assert BAD not in web.materialized("marts.fact_orders")
    shown = web.kpi("show", "instacart", "marts.fact_orders", "--load-date", BAD)
    assert (shown.returncode, shown.stderr.strip()) == (
        1,
        f"error: marts.fact_orders of {BAD} is not published in the home {web.environment['KPI_HOME']}: "
        "land and run the load_date first.",
    )


@pytest.mark.nightly
def test_corrected_files_are_published(web: Web, tmp_path: Path) -> None:
    web.kpi("sample", "instacart", "--load-date", BAD, "--orders", "2000", "--out", str(tmp_path))
    landing = ["land", "instacart", "--load-date", BAD, "--from", str(tmp_path)]
    assert web.kpi(*landing).returncode == 1, "an object that differs is replaced only with the option"
    assert web.kpi(*landing, "--replace").returncode == 0

    assert web.materialize(BAD) == "SUCCESS"

    assert web.check("raw.order_products_prior", "grain", BAD)["status"] == "SUCCEEDED"
    assert {GOOD, BAD} <= set(web.materialized("marts.kpi_orders_by_dow"))


@pytest.mark.nightly
def test_a_new_kpi_file_appears_is_gated_and_is_published(web: Web) -> None:
    """The example of the README is added to the folder; then the UI's button reloads the definitions."""
    file, text = new_kpi()
    path = Path(web.environment["KPI_SQL_DIR"]) / file
    name = ["marts", path.stem]
    path.write_text(text.replace("@end", "  min_rows: {at_least: 25}\n@end"))
    reloaded = web.ask(RELOAD, {"location": "kpi_assets"})["reloadRepositoryLocation"]
    assert reloaded == {"__typename": "WorkspaceLocationEntry", "loadStatus": "LOADED"}

    assert web.materialize(GOOD, names=[name]) == "CANCELED"
    assert web.check(f"marts.{path.stem}", "min_rows", GOOD)["status"] == "FAILED"
    assert web.materialized(f"marts.{path.stem}") == []

    path.write_text(text)
    web.ask(RELOAD, {"location": "kpi_assets"})
    assert web.materialize(GOOD, names=[name]) == "SUCCESS"
    assert web.materialized(f"marts.{path.stem}") == [GOOD]
    shown = web.kpi("show", "instacart", f"marts.{path.stem}", "--format", "json")
    assert len(json.loads(shown.stdout)) == 24


def test_terminating_a_run_also_cancels_its_statement(web: Web) -> None:
    path = Path(web.environment["KPI_SQL_DIR"]) / "instacart" / "stg" / "stg_orders.sql"
    text = path.read_text()
    path.write_text(f"{text}    and {HOURS}\n")
    try:
        run_id = web.launch(GOOD, names=[["stg", "stg_orders"]])
        working = "select state from pg_stat_activity where application_name like 'kpi % stg.stg_orders %'"
        with psycopg.connect(web.kpi("url", "instacart").stdout.strip(), autocommit=True) as session:
            slow = f"{working} and query like 'create table%generate_series%'"
            eventually(lambda: session.execute(slow).fetchall() == [("active",)])
            answer = web.ask(TERMINATE, {"id": run_id})["terminateRun"]
            assert answer == {"__typename": "TerminateRunSuccess"}
            assert web.final_status(run_id) == "CANCELED"
            assert session.execute(working).fetchall() == []
            query = "select job, status, error_message from ops.pipeline_runs where run_id = %s order by job"
            assert session.execute(query, [run_id]).fetchall() == [
                ("instacart", "failed", "stg.stg_orders: It was interrupted."),
                ("stg.stg_orders", "failed", "It was interrupted."),
            ]
    finally:
        path.write_text(text)


@pytest.mark.nightly
def test_a_run_that_was_killed_with_kpi_up_is_retried_by_the_next_kpi_up(web: Web) -> None:
    url = web.kpi("url", "instacart").stdout.strip()
    with psycopg.connect(url) as reader:
        reader.execute("lock table ops.publishes in share mode")  # no build gets past this lock
        run_id = web.launch(GOOD, names=[["marts", "dim_products"]])
        with psycopg.connect(url, autocommit=True) as session:
            query = "select status from ops.pipeline_runs where run_id = %s and job = 'marts.dim_products'"
            eventually(lambda: session.execute(query, [run_id]).fetchall() == [("running",)])
        everything = psutil.Process(web.process.pid).children(recursive=True)
        web.process.kill()
        for process in everything:
            with suppress(psutil.NoSuchProcess):
                if "python" in process.name():  # services, their code servers, and the run worker
                    process.kill()
        web.process.communicate()

    web.start()

    assert web.final_status(run_id) == "FAILURE"
    eventually(lambda: len(web.ask(RETRIES, {"root": run_id})["runsOrError"]["results"]) == 1, every=0.3)
    [retried] = web.ask(RETRIES, {"root": run_id})["runsOrError"]["results"]
    assert web.final_status(retried["runId"]) == "SUCCESS"
    with psycopg.connect(url) as session:
        query = "select run_id, status from ops.pipeline_runs where job = 'marts.dim_products' order by id desc limit 2"
        assert session.execute(query).fetchall() == [(retried["runId"], "success"), (run_id, "failed")]


def test_nothing_in_the_home_is_open_to_others_while_everything_runs(web: Web) -> None:
    home = Path(web.environment["KPI_HOME"])
    assert {path.name for path in (home / "logs").iterdir()} >= {"web_ui.log", "daemon.log", "postgres.log", "s3.log"}
    assert open_to_others(home) == CLOSED


def test_ctrl_c_ends_everything(web: Web) -> None:
    inside = psutil.Process(web.process.pid).children(recursive=True)
    assert len(inside) >= 3, "the web UI, the daemon and their code servers"
    web.process.send_signal(signal.SIGINT)
    assert web.process.wait(PATIENCE) == 0
    assert [process for process in inside if is_alive(process)] == []
    stopped = web.kpi("down")
    home = web.environment["KPI_HOME"]
    assert stopped.stdout == f"Nothing was running in {home}.\n"
    said = web.kpi("url")
    assert (said.returncode, said.stderr) == (1, f"error: No web UI runs in {home}: start it with `kpi up`.\n")
