"""The whole deployment: its services are healthy by their own checks, run a day, and keep their secrets."""

import re
import shutil
import urllib.request
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError

import psutil
import pytest
import urllib3
from botocore.exceptions import ClientError

from kpi_assets.ledger import schema
from kpi_assets.samples.realtime.world import STREAMS
from kpi_assets.settings import CHECKOUT
from kpi_assets.surface.security import hash_of
from kpi_assets_tests.deploy.compose import PIPELINES, Deployment
from kpi_assets_tests.deploy.conftest import DAY, SERVICES, Ran
from kpi_assets_tests.machine import PATIENCE, eventually
from kpi_assets_tests.stream.brokers import mock_broker

pytestmark = pytest.mark.nightly


def test_a_day_that_is_landed_by_the_command_and_launched_in_the_ui_is_published(
    deployment: Deployment, landed: list[str], ran: Ran
) -> None:
    assert [line.split()[0] for line in landed] == ["landed"] * 5
    assert ran.status == "SUCCESS"
    assert ran.web.materialized("marts.kpi_orders_by_dow") == ["2025-06-01"]
    shown = deployment("show", "instacart", "marts.kpi_orders_by_dow", "--format", "csv").out.splitlines()
    assert sum(int(line.split(",")[1]) for line in shown[1:]) == 1000


def test_the_web_ui_asks_for_the_token_and_does_not_answer_to_other_names(deployment: Deployment, ran: Ran) -> None:
    def status(path: str, **headers: str) -> int:
        request = urllib.request.Request(f"{ran.web.address}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return int(answer.status)
        except HTTPError as refusal:
            return refusal.code

    assert status("/runs") == 401
    assert status("/runs", Authorization=f"Bearer {deployment.secret('kpi_ui_token')}") == 200
    assert status(f"/runs?token={deployment.secret('kpi_ui_token')}", Host="evil.example") == 421
    chart = "/kpi/chart/instacart/marts.kpi_orders_by_dow.svg"
    assert status(chart) == 401
    assert status(chart, Authorization=f"Bearer {deployment.secret('kpi_ui_token')}") == 200


def test_the_pages_show_what_was_published_to_those_who_have_a_key(deployment: Deployment, ran: Ran) -> None:
    address = f"http://127.0.0.1:{deployment.ports['8000']}/api/v1/kpis/instacart/kpi_orders_by_dow"
    key = (deployment.root / "made" / "key_of_first_reader").read_text()
    pool = urllib3.PoolManager()
    assert pool.request("GET", address).status == 401
    found = pool.request("GET", address, headers={"Authorization": f"Bearer {key}"})
    assert (found.status, found.json()["trust"]["load_date"]) == (200, str(DAY))
    with deployment.session(deployment.secret("kpi_serve_postgres_url")) as session:
        assert session.execute(
            "select roleid::regrole::text from pg_auth_members where member = current_user::regrole"
        ).fetchall() == [("kpi_reader",)]


def test_a_run_is_a_process_of_the_code_server_and_the_ui_shows_its_output(deployment: Deployment, ran: Ran) -> None:
    folder = deployment.home / "dagster"
    assert sorted(path.name for path in folder.iterdir()) == ["dagster.yaml", "storage"], "nothing else is written"
    printed = [path.read_text() for path in (folder / "storage").glob("*/compute_logs/*.err")]
    assert any("instacart__marts__kpi_orders_by_dow" in text for text in printed)


@pytest.mark.parametrize("service", SERVICES)
def test_no_process_has_a_password_in_its_environment_or_command(
    deployment: Deployment, ran: Ran, service: str
) -> None:
    main = psutil.Process(deployment.processes[service].pid)
    looked_at = [main, *main.children(recursive=True)]
    told = []
    for process in looked_at:
        with suppress(psutil.NoSuchProcess):  # a child process that ended meanwhile has neither
            told.append(" ".join([*process.cmdline(), *map(str, process.environ().items())]))
    assert told, "the service itself was seen"
    assert all("KPI_SECRETS_DIR" in each for each in told)
    assert [each for each in told if any(secret in each for secret in deployment.secrets)] == []


def bucket(found: str) -> list[str]:
    """What the doctor says of the bucket for a pipeline, of whose objects it says what it found."""
    said = "its clock and ours are less than 10 s apart", found
    return [
        f"ok      bucket kpi-instacart: {each}" for each in (*said, "can be landed into: a probe was put and removed")
    ]


def test_the_doctor_finds_nothing_to_repair(deployment: Deployment, ran: Ran) -> None:
    place = f"127.0.0.1:{deployment.postgres_port}"
    found = deployment("doctor", "--landing").out.splitlines()
    runs = r"hold \d+ runs"  # the session that publishes, and those that deliver alerts meanwhile
    changes = (" free in ", "are free", "sensors and schedules that are on")  # parts of the findings that are numbers
    said = [re.sub(runs, "hold runs", line) for line in found if not any(words in line for words in changes)]
    late = "is late since 2025-06-03 12:00 UTC: its latest published load_date is 2025-06-01, and its freshness is"
    hours = "within_hours: 36, counted from that load_date's end"
    there = "all that is published (14 load_dates of tables) is there"
    look = "`kpi plan instacart` says what is not published"
    assert said == [
        f"ok      warehouse: PostgreSQL {deployment.postgres_version} at {place}, as kpi_app",
        "ok      warehouse: its clock and ours are less than 10 s apart",
        "ok      warehouse settings: durable, and large enough for loads",
        "ok      roles: kpi_loader, kpi_builder, kpi_reader, kpi_pii_reader, kpi_reviewer, kpi_decider exist",
        "advice  roles: kpi_reader may also connect to the databases postgres, template1, as everybody may: run "
        "`revoke connect on database ... from public` there if nobody needs that",
        f"ok      database ecommerce: ops is at version {schema.migrations()[-1][0]}, the newest",
        f"ok      database ecommerce: {there.replace('14', '0')}; --deep compares the rows too",
        f"ok      database instacart: ops is at version {schema.migrations()[-1][0]}, the newest",
        f"ok      database instacart: {there}; --deep compares the rows too",
        f"advice  database instacart: marts.kpi_orders_by_dow {late} {hours}: {look}",
        f"advice  database instacart: marts.kpi_orders_by_dow_28d {late} {hours}: {look}",
        f"advice  database instacart: marts.kpi_products_reorder {late} {hours}: {look}",
        *bucket("can be listed and read below /"),
        "advice  api ecommerce.products: it has no address, so its objects are read where they have landed as files, "
        "and a run that needs another one fails: set KPI_API_URLS__ECOMMERCE__PRODUCTS, or write url under "
        "apis.products of its pipeline.yaml",
        *bucket("can be listed and read below raw/"),
        "ok      dagster: its tables are of this Dagster and hold runs",
        "ok      dagster: its daemon runs",
        "ok      serve: it listens on 127.0.0.1, port 8000, and answers to 1 key",
    ]
    assert deployment.s3.list_objects_v2(Bucket="kpi-instacart", Prefix="raw/.kpi-doctor/").get("Contents", []) == []


def test_the_doctor_says_what_a_deployment_lacks(deployment: Deployment, ran: Ran) -> None:
    """Each line is about a login or a server that is not fit for the work."""
    ask = "have an administrator run `kpi bootstrap`"
    deployment.execute(f"create role test_nobody login password '{deployment.secrets[0]}'")
    nobody = {"KPI_POSTGRES_URL": deployment.url_as("test_nobody", deployment.secrets[0])}
    said = deployment("doctor", code=1, **nobody)
    for name in PIPELINES:
        assert said.line(f"database {name}").startswith(f"broken database {name}: The warehouse server at")
    assert "on database 'dagster' (permission denied for database" in said.line("broken dagster")
    for database in (*PIPELINES, "dagster"):
        deployment.execute(f"grant connect on database {database} to test_nobody")
    said = deployment("doctor", code=1, **nobody)
    assert said.line("broken dagster").startswith("broken dagster: its database cannot be used (permission denied")
    for name in PIPELINES:
        lacks = f"broken database {name}: test_nobody lacks kpi_loader and kpi_builder: {ask}, or grant it"
        assert said.line(f"broken database {name}") == lacks
    assert (
        deployment("doctor", KPI_POSTGRES_URL=deployment.superuser)
        .line("advice login")
        .startswith("advice login: kpi is a")
    )


def test_no_log_has_a_password(deployment: Deployment, ran: Ran) -> None:
    logs: list[Path] = [*deployment.root.glob("*.log"), *(deployment.home / "dagster").rglob("*.err")]
    assert len(logs) >= 5
    assert [path for path in logs if any(secret in path.read_text() for secret in deployment.secrets)] == []


def test_secrets_are_made_once(deployment: Deployment, tmp_path: Path) -> None:
    made = deployment.root / "made"
    before = {path.name: path.read_text() for path in made.iterdir()}
    urls = ["kpi_admin_postgres_url", "kpi_postgres_url", "kpi_serve_postgres_url"]
    others = ["aws_credentials", "key_of_first_reader", "kpi_serve_keys", "kpi_stream_password", "kpi_ui_token"]
    others += ["postgres_password", "stream_credentials"]
    assert sorted(before) == sorted([*urls, *others])
    assert before["kpi_serve_keys"] == f"first:{hash_of(before['key_of_first_reader'])}"
    assert len(before["kpi_ui_token"]) == 48
    assert (made.stat().st_mode & 0o777, {path.stat().st_mode & 0o777 for path in made.iterdir()}) == (0o700, {0o444})
    again = deployment.run_secrets(made)
    assert again == f"{made} already exists: nothing was changed.\n"
    assert {path.name: path.read_text() for path in made.iterdir()} == before
    deployment.run_secrets(tmp_path / "other")
    assert (tmp_path / "other" / "postgres_password").read_text() != before["postgres_password"]


def test_streams_are_landed_with_keys_that_are_good_for_nothing_else(
    deployment: Deployment, ran: Ran, tmp_path: Path
) -> None:
    tree = tmp_path / "sql"
    shutil.copytree(CHECKOUT / "sql" / "realtime", tree / "realtime")
    given = {"KPI_SQL_DIR": str(tree)}
    deployment.bootstrap(KPI_ADMIN_POSTGRES_URL=deployment.secret("kpi_admin_postgres_url"), **given)
    root, own = deployment.s3, deployment.s3_as("stream_credentials")

    def landed() -> set[str]:
        found = root.list_objects_v2(Bucket="kpi-realtime", Prefix="raw/").get("Contents", [])
        return {each["Key"].split("/")[1] for each in found}

    with mock_broker(tmp_path / "home") as broker:
        for stream in STREAMS:
            broker.send(stream, (0, b"key", b'{"event_id": "1"}'))
        process = deployment.spawn("stream", KPI_STREAM_URL=str(broker.settings.stream_url), **given)
        try:
            eventually(lambda: landed() == {*STREAMS}, every=0.5)
        finally:
            process.terminate()
            code = process.wait(PATIENCE)
    assert code == 0
    log = (deployment.root / "stream.log").read_text()
    assert " UTC info: clicks: 1 events in 1 objects; " in log
    hidden = [deployment.secret("stream_credentials").rpartition(" = ")[2].strip(), *deployment.secrets]
    assert [secret for secret in hidden if secret in log] == []

    [key] = [each["Key"] for each in root.list_objects_v2(Bucket="kpi-realtime", Prefix="raw/clicks/")["Contents"]]
    assert own.get_object(Bucket="kpi-realtime", Key=key)["ContentLength"] > 0
    with pytest.raises(ClientError, match="PreconditionFailed"):
        own.put_object(Bucket="kpi-realtime", Key=key, Body=b"", IfNoneMatch="*")
    for refused in (
        lambda: own.delete_object(Bucket="kpi-realtime", Key=key),
        lambda: own.put_object(Bucket="kpi-realtime", Key="decisions/raw.clicks/x", Body=b""),
        lambda: own.put_object(Bucket="kpi-instacart", Key="raw/x", Body=b""),
        lambda: own.list_objects_v2(Bucket="kpi-instacart"),
        lambda: own.delete_bucket(Bucket="kpi-realtime"),
        lambda: own.create_bucket(Bucket="kpi-mine"),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            refused()
