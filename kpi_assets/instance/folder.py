"""The instance folder below KPI_HOME: its dagster.yaml, which is rewritten unless a person wrote it, and its database.

Not here: any import of Dagster, so that short commands stay fast.
"""

import os
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from kpi_assets.embedded.home import Home, replace_file
from kpi_assets.errors import UserError
from kpi_assets.settings import Settings
from kpi_assets.warehouse.provision import ensure_database

DATABASE = "dagster"
# Variables of other programs that name files. A relative path would name another file in another working folder.
FILES = (
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "CURL_CA_BUNDLE",
    "PGPASSFILE",
    "PGSERVICEFILE",
    "PGSSLCERT",
    "PGSSLCRL",
    "PGSSLKEY",
    "PGSSLROOTCERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
)
LOCATION = "kpi_assets"  # the code location's name in every workspace, by which Dagster identifies its sensors
OURS = "# Written by kpi_assets at each start"  # the beginning of a file that prepare() may replace

DAGSTER_YAML = f"""\
{OURS}. A file without this line is yours and is not changed.
storage:
  custom:
    module: kpi_assets.instance.storage
    class: PooledPostgresStorage
    config: {{}}  # the URL comes from the settings, so that no password is written here
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config: {{dequeue_interval_seconds: 1}}
concurrency:
  runs: {{max_concurrent_runs: 4}}
run_monitoring: {{enabled: true, start_timeout_seconds: 180, max_runtime_seconds: 21600, poll_interval_seconds: 20}}
# A step retries transient errors itself. A run that fails for another reason would fail again.
run_retries: {{enabled: true, max_retries: 2, retry_on_asset_or_op_failure: false}}
retention:
  schedule: {{purge_after_days: 30}}
  sensor: {{purge_after_days: {{skipped: 3, started: 30, success: 30, failure: 30}}}}
telemetry: {{enabled: false}}
nux: {{enabled: false}}
"""


WORKSPACE_YAML = f"""\
load_from:
  - python_module: {{module_name: kpi_assets.definitions, location_name: {LOCATION}}}
"""


def storage_url(settings: Settings) -> str:
    """Return the URL of Dagster's database, with psycopg2 named as its driver.

    With a plain `postgresql://` SQLAlchemy 2.1 uses psycopg 3, which dagster-postgres does not support.
    """
    server = settings.dagster_postgres_url or settings.postgres_url
    if server is None:
        raise UserError("KPI_POSTGRES_URL is not set: start the embedded servers with `kpi up`, or name your own.")
    parts = urlsplit(server.get_secret_value())
    path = parts.path if settings.dagster_postgres_url else f"/{quote(DATABASE)}"
    return urlunsplit(("postgresql+psycopg2", parts.netloc, path, parts.query, ""))


def instance_path(home: Path) -> Path:
    """Return the path of the instance folder of a KPI_HOME."""
    return Home(home).instance


def working_folder(home: Path) -> Path:
    """Return the working folder of everything that `kpi up` starts; make it, and close it to others.

    Python and Dagster import modules from their working folder, and Dagster reads a `.env` there. So the services must
    not work in the folder in which a person runs `kpi up`. Raises UserError if the folder belongs to another user.
    """
    Home(home).check_is_ours()
    folder = home.resolve() / "run"
    folder.mkdir(0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise UserError(f"{folder} belongs to another user, who could plant code: set KPI_HOME to a folder of yours.")
    if found.st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of the processes of `kpi up`: absolute paths, and no imports from the working folder.

    Python 3.10 ignores PYTHONSAFEPATH; there only the choice of the working folder protects.
    """
    files = {name: str(Path(os.environ[name]).absolute()) for name in FILES if os.environ.get(name)}
    ours = {"KPI_HOME": settings.home.resolve(), "KPI_SQL_DIR": settings.sql_dir.absolute()}
    if settings.secrets_dir:
        ours["KPI_SECRETS_DIR"] = settings.secrets_dir.absolute()
    return {**os.environ, **files, **{name: str(path) for name, path in ours.items()}, "PYTHONSAFEPATH": "1"}


def workspace() -> Path:
    """Write the workspace file into the instance folder and return its path. Call `prepare` first."""
    path = Path(os.environ["DAGSTER_HOME"]) / "workspace.yaml"
    replace_file(path, WORKSPACE_YAML)
    return path


def prepare(settings: Settings) -> Path:
    """Make the instance folder, its dagster.yaml and Dagster's database, set DAGSTER_HOME, and return the folder."""
    folder = Home(settings.home).instance_folder()
    path = folder / "dagster.yaml"
    if not path.exists() or (path.read_text() != DAGSTER_YAML and path.read_text().startswith(OURS)):
        replace_file(path, DAGSTER_YAML)
    os.environ["DAGSTER_HOME"] = str(folder)
    if settings.dagster_postgres_url is None and settings.postgres_url is not None:
        ensure_database(settings.postgres_url, DATABASE)
    return folder
