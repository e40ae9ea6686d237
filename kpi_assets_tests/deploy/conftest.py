"""One deployment for all tests of this folder, as compose.yaml describes it, into which a day is landed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import pytest

from kpi_assets.samples import GENERATORS
from kpi_assets_tests.deploy.compose import Deployment, deployed
from kpi_assets_tests.e2e.test_web import Web
from kpi_assets_tests.machine import eventually

DAY = date(2025, 6, 1)
SERVICES = ("code", "web", "daemon", "pages")


@dataclass(frozen=True)
class Ran:
    """The started deployment, and the status of the run of a day."""

    status: str
    web: Web


@pytest.fixture(scope="package")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The deployment, of which only Postgres and S3 are started."""
    with deployed(tmp_path_factory.mktemp("deploy")) as deployment:
        yield deployment


@pytest.fixture(scope="package")
def bootstrapped(deployment: Deployment) -> str:
    """What the bootstrap said."""
    return deployment.bootstrap(KPI_ADMIN_POSTGRES_URL=deployment.secret("kpi_admin_postgres_url")).out


@pytest.fixture(scope="package")
def landed(deployment: Deployment, bootstrapped: str) -> list[str]:
    """What `kpi land` said of DAY."""
    files = deployment.folder / "day"
    GENERATORS["instacart"].write(files, load_date=DAY, orders=1000, seed=1)
    return deployment("land", "instacart", "--load-date", DAY, "--from", files).out.splitlines()


@pytest.fixture(scope="package")
def built(deployment: Deployment, landed: list[str]) -> None:
    """DAY is published by the command; no service is needed for that."""
    deployment("run", "instacart", "--load-date", DAY)


@pytest.fixture(scope="package")
def ran(deployment: Deployment, landed: list[str]) -> Ran:
    """The deployment with healthy services, after a run of DAY that was launched in the web UI."""
    deployment.start_service("code")
    deployment.start_service("web")
    deployment.start_service("pages")
    eventually(lambda: deployment.is_healthy("web"), every=1)
    deployment.start_service("daemon")
    for service in ("code", "daemon", "pages"):
        eventually(lambda service=service: deployment.is_healthy(service), every=1)
    web = Web(f"http://127.0.0.1:{deployment.ports['3000']}", deployment.environment, deployment.secret("kpi_ui_token"))
    return Ran(web.materialize(str(DAY)), web)
