"""The instance folder below KPI_HOME: its dagster.yaml, written anew unless a person wrote it, and its database.

Not here: any import of Dagster, so that short commands stay short.
"""

import os
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from kpi_assets.errors import UserError
from kpi_assets.settings import Settings
from kpi_assets.warehouse.bootstrap import ensure_database

DATABASE = "dagster"
LOCATION = "kpi_assets"  # what every workspace calls the code location: by it Dagster knows its sensors again
OURS = "# Written by kpi_assets at each start"  # how a file begins that prepare() may replace

DAGSTER_YAML = f"""\
{OURS}. A file without this line is yours, and is left as it is.
storage:
  custom:
    module: kpi_assets.instance.storage
    class: PooledPostgresStorage
    config: {{}}  # the URL is a setting, so that no password is written here
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config: {{dequeue_interval_seconds: 1}}
concurrency:
  runs: {{max_concurrent_runs: 4}}
run_monitoring: {{enabled: true, start_timeout_seconds: 180, max_runtime_seconds: 21600, poll_interval_seconds: 20}}
# A run that failed because data is bad would be rebuilt in circles.
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
    """The URL of Dagster's database, in the form that keeps SQLAlchemy on psycopg2.

    With plain `postgresql://` SQLAlchemy 2.1 takes psycopg 3, which dagster-postgres cannot talk through.
    """
    server = settings.dagster_postgres_url or settings.postgres_url
    if server is None:
        raise UserError("KPI_POSTGRES_URL is not set: start the embedded servers with `kpi up`, or name your own.")
    parts = urlsplit(server.get_secret_value())
    path = parts.path if settings.dagster_postgres_url else f"/{quote(DATABASE)}"
    return urlunsplit(("postgresql+psycopg2", parts.netloc, path, parts.query, ""))


def path_below(home: Path) -> Path:
    """The instance folder of a KPI_HOME."""
    return home.resolve() / "dagster"


def prepare(settings: Settings) -> Path:
    """Make the folder, its dagster.yaml and Dagster's database; point this process's environment at the folder."""
    folder = path_below(settings.home)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "dagster.yaml"
    if not path.exists() or (path.read_text() != DAGSTER_YAML and path.read_text().startswith(OURS)):
        written = path.with_suffix(f".{os.getpid()}")
        written.write_text(DAGSTER_YAML)
        written.replace(path)
    (folder / "workspace.yaml").write_text(WORKSPACE_YAML)
    os.environ["DAGSTER_HOME"] = str(folder)
    if settings.dagster_postgres_url is None and settings.postgres_url is not None:
        ensure_database(settings.postgres_url, DATABASE)
    return folder
