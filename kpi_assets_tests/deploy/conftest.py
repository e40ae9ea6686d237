"""One deployment for all tests of this folder, as compose.yaml describes it; a day is landed and run in its web UI."""

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
    """The started deployment and the outcome of a day that it ran."""

    bootstrap: str
    landed: list[str]
    status: str
    web: Web


@pytest.fixture(scope="package")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The deployment, of which only Postgres and S3 are started."""
    with deployed(tmp_path_factory.mktemp("deploy")) as deployment:
        yield deployment


@pytest.fixture(scope="package")
def ran(deployment: Deployment) -> Ran:
    """The deployment after bootstrap, with healthy services, and a day that was landed and launched in the web UI."""
    admin = {"KPI_ADMIN_POSTGRES_URL": deployment.secret("kpi_admin_postgres_url")}
    said = deployment.bootstrap(**admin)
    deployment.start_service("code")
    deployment.start_service("web")
    deployment.start_service("pages")
    files = deployment.folder / "day"
    GENERATORS["instacart"].write(files, load_date=DAY, orders=1000, seed=1)
    landed = deployment("land", "instacart", "--load-date", DAY, "--from", files).out.splitlines()
    eventually(lambda: deployment.is_healthy("web"), every=1)
    deployment.start_service("daemon")
    for service in ("code", "daemon", "pages"):
        eventually(lambda service=service: deployment.is_healthy(service), every=1)
    web = Web(f"http://127.0.0.1:{deployment.ports['3000']}", deployment.environment, deployment.secret("kpi_ui_token"))
    return Ran(said.out, landed, web.materialize(str(DAY)), web)
