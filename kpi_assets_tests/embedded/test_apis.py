"""When the simulated APIs run, what they survive, and what commands find in their environment."""

import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from kpi_assets.embedded.apis import needed_apis
from kpi_assets.embedded.stack import Stack, embedded_servers, status, stop
from kpi_assets.errors import UserError
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import Settings, settings
from kpi_assets_tests.embedded.conftest import User, are_running, ask, command_lines, states
from kpi_assets_tests.simulators.tree import write_tree

BOTH, ALL = {"postgres": True, "s3": True}, {"postgres": True, "s3": True, "apis": True}
RETAILERS = ["retailer_1", "retailer_2", "retailer_3"]
APIS = {"ecommerce": ["products"], "retail": RETAILERS}


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Pipeline]:
    return list(load_pipelines(write_tree(tmp_path_factory.mktemp("tree") / "sql")).values())


@pytest.fixture(scope="module")
def _started_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of its own: the APIs leave their databases, a role and a log in it."""
    home = tmp_path_factory.mktemp("apis") / "home"
    with Stack(home):
        pass
    yield home
    shutil.rmtree(home)


@pytest.fixture
def retail(pipelines: Sequence[Pipeline]) -> Sequence[Pipeline]:
    return [pipeline for pipeline in pipelines if pipeline.name == "retail"]


def health(url: str) -> int:
    host, _, api = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=5)
    connection.request("GET", f"/{api}/health")
    return connection.getresponse().status


def secrets(home: Path) -> list[str]:
    found = json.loads((home / "apis.json").read_text())
    return [found["password"], *found["of_apis"].values()]


def test_they_are_needed_for_apis_without_a_url_on_embedded_servers(
    pipelines: Sequence[Pipeline], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    assert needed_apis(Settings(home=home), pipelines) == APIS
    assert needed_apis(Settings(home=home), [each for each in pipelines if each.name == "ecommerce"]) == {
        "ecommerce": ["products"]
    }
    assert needed_apis(Settings(home=home), []) == {}
    named = {"retail": {"retailer_2": "https://example.com/sales"}, "ecommerce": {"products": "http://10.0.0.1:80"}}
    assert needed_apis(Settings(home=home, api_urls=named), pipelines) == {"retail": ["retailer_1", "retailer_3"]}
    for elsewhere in (
        {"postgres_url": "postgresql://kpi@db.example/warehouse"},
        {"s3_bucket": "theirs"},
        {"s3_buckets": {"retail": "theirs"}},
        {"s3_endpoint_url": "http://127.0.0.1:9000"},
    ):
        assert needed_apis(Settings(home=home, **elsewhere), pipelines) == {}  # type: ignore[arg-type]


def test_an_api_whose_url_stands_in_pipeline_yaml_is_not_simulated(tmp_path: Path) -> None:
    sql = write_tree(tmp_path / "sql")
    path = sql / "retail/pipeline.yaml"
    path.write_text(path.read_text().replace("retailer_1: {", "retailer_1: {url: 'https://example.com', "))
    found = needed_apis(Settings(home=tmp_path / "home"), load_pipelines(sql).values())
    assert found == {"ecommerce": ["products"], "retail": ["retailer_2", "retailer_3"]}


def test_they_start_with_a_pipeline_that_needs_them_and_stop_with_the_servers(
    home: Path, retail: Sequence[Pipeline]
) -> None:
    before = dict(os.environ)
    with embedded_servers(Settings(home=home)):
        assert are_running(home).get("apis", False) is False
        with Stack(home, apis={"retail": RETAILERS}):
            pass
        assert are_running(home) == ALL  # as long as the servers of the home are in use
    assert not any(are_running(home).values())
    with embedded_servers(Settings(home=home), retail) as (found, stack):
        assert stack is not None
        assert are_running(home) == ALL
        port = states(home)["apis"].port
        urls = {name: f"http://127.0.0.1:{port}/{name}" for name in RETAILERS}
        assert json.loads(os.environ["KPI_API_URLS"]) == {"retail": urls}
        assert found.api_urls == settings().api_urls == {"retail": urls}
        assert found.api_secrets == settings().api_secrets
        assert [health(url) for url in urls.values()] == [200, 200, 200]
        assert {name: os.environ[name] for name in stack.environment()} == stack.environment()
        assert needed_apis(settings(), retail) == {}  # a command within finds their URLs
    assert dict(os.environ) == before
    assert not any(are_running(home).values())


def test_what_the_user_has_set_for_other_apis_stays(
    home: Path, retail: Sequence[Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {
        "KPI_API_URLS": json.dumps(
            {"retail": {"retailer_2": "https://example.com/2"}, "own": {"x": "http://x.example"}}
        ),
        "kpi_api_secrets": json.dumps({"own": {"x": "their own secret"}}),
        "KPI_API_SECRETS__RETAIL__RETAILER_2": "their second secret",
        "KPI_API_SECRETS__RETAIL__RETAILER_1": "no secret of the simulated API",
    }
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    with embedded_servers(settings().model_copy(update={"home": home}), retail) as (found, stack):
        assert stack is not None
        assert stack.simulated == {"retail": ["retailer_1", "retailer_3"]}
        for each in (found, settings()):
            assert each.api_urls["retail"]["retailer_2"] == "https://example.com/2"
            assert each.api_urls["own"] == {"x": "http://x.example"}
            assert each.api_secrets["own"]["x"].get_secret_value() == "their own secret"
            assert each.api_secrets["retail"]["retailer_2"].get_secret_value() == "their second secret"
            assert each.api_secrets["retail"]["retailer_1"].get_secret_value() in secrets(home)
    assert {name: os.environ[name] for name in theirs} == theirs


@pytest.mark.nightly
def test_secrets_are_made_once_and_shown_nowhere(home: Path, retail: Sequence[Pipeline]) -> None:
    with embedded_servers(Settings(home=home), retail) as (_, stack):
        assert stack is not None
        first = secrets(home)
        assert len(set(first)) == 5
        assert all(len(secret) >= 32 for secret in first)
        assert (home / "apis.json").stat().st_mode & 0o777 == 0o600
        lines = [" ".join(line) for line in command_lines() if str(home) in " ".join(line)]
        assert len(lines) == 3
        logs = [path.read_text() for path in (home / "logs").iterdir()]
        said = "\n".join([*lines, *logs, repr(stack.__dict__), repr(settings())])
        assert [secret for secret in first if secret in said] == []
    with embedded_servers(Settings(home=home), retail):
        assert secrets(home) == first


@pytest.mark.nightly
def test_apis_of_a_killed_user_are_adopted_and_then_stopped(
    home: Path, user: Callable[..., User], retail: Sequence[Pipeline]
) -> None:
    killed = user(home)
    killed.ready()
    with Stack(home, apis={"retail": RETAILERS}):
        orphan = states(home)["apis"]
    killed.kill()
    assert are_running(home) == ALL
    with embedded_servers(Settings(home=home), retail):
        assert states(home)["apis"] == orphan
    assert not any(are_running(home).values())


def test_a_killed_program_is_noticed_and_started_again(home: Path) -> None:
    with Stack(home, apis={"retail": RETAILERS}) as stack:
        stack.check_alive()
        before = states(home)["apis"]
        psutil.Process(before.pid).kill()
        psutil.wait_procs([psutil.Process(before.pid)] if psutil.pid_exists(before.pid or 0) else [], timeout=5)
        with pytest.raises(UserError) as error:
            stack.check_alive()
        assert str(error.value).startswith(
            "The program of the simulated APIs exited unexpectedly: run `kpi up` again; its log "
        )
        with Stack(home, apis={"retail": RETAILERS}):
            after = states(home)["apis"]
            assert (after.running, after.port) == (True, before.port)
            assert health(f"http://127.0.0.1:{after.port}/retailer_1") == 200
            stack.check_alive()


def test_a_program_whose_starter_was_killed_before_it_recorded_the_process_is_found(home: Path) -> None:
    with Stack(home, apis={"retail": RETAILERS}):
        before = states(home)["apis"]
        (home / "run" / "apis.json").write_text(json.dumps({"port": before.port, "pid": None}))
        with Stack(home, apis={"retail": RETAILERS}):
            assert states(home)["apis"] == before
        assert stop(home) == ["postgres", "s3", "apis"]
        assert stop(home) == []


@pytest.mark.nightly
def test_sales_and_addresses_survive_a_restart(home: Path) -> None:
    with Stack(home, apis={"retail": RETAILERS}) as stack:
        first = stack.environment()
        url = first["KPI_POSTGRES_URL"].replace("/postgres", "/simulated-retailer_1")
        ask(url, "insert into sales (booked_on, order_id) values ('2025-07-01', 'kept')")
    with Stack(home, apis={"retail": RETAILERS}) as stack:
        assert stack.environment() == first
        assert ask(url, "delete from sales returning order_id") == [("kept",)]


@pytest.mark.nightly
def test_a_program_with_other_secrets_is_refused(fresh: Path) -> None:
    with Stack(fresh, apis={"retail": RETAILERS}):
        file = fresh / "apis.json"
        kept = file.read_text()
        file.write_text(kept.replace('"password": "', '"password": "0'))
        with pytest.raises(UserError) as error, Stack(fresh, apis={"retail": RETAILERS}):
            pass
        assert str(error.value) == (
            f"The program of the simulated APIs refuses the keys in {file}: restore the original file, or remove "
            f"{fresh} to start over."
        )
        file.write_text("{}")
        with pytest.raises(UserError) as error, Stack(fresh, apis={"retail": RETAILERS}):
            pass
        assert str(error.value) == f"{file} is damaged: run `kpi down`, remove the file, and try again."
    file.unlink()
    with Stack(fresh, apis={"retail": RETAILERS}) as stack:  # the databases get the new password
        assert health(json.loads(stack.environment()["KPI_API_URLS"])["retail"]["retailer_3"]) == 200


@pytest.mark.nightly
def test_a_process_that_no_command_has_started_finds_them(home: Path, tmp_path: Path) -> None:
    code = "from kpi_assets.embedded.stack import servers_for_life; print(*servers_for_life().settings.api_urls)"
    environment = {**os.environ, "KPI_HOME": str(home), "KPI_SQL_DIR": str(write_tree(tmp_path / "sql"))}
    run = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert set(run.stdout.split()) == {"ecommerce", "retail"}
    assert not any(are_running(home).values())


def test_a_stack_without_apis_does_not_mention_them(home: Path) -> None:
    with Stack(home) as stack:
        assert not {"KPI_API_URLS", "KPI_API_SECRETS"} & set(stack.environment())
        assert {each.name: each.running for each in status(home) if each.running} == BOTH
