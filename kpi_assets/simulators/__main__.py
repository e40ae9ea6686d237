"""`python -m kpi_assets.simulators HOME PORT`: serves the simulated APIs on the loopback interface until it is stopped.

The environment has what is secret: KPI_SIMULATORS, a JSON object of the password of the databases and the secrets of
the APIs. Where PostgreSQL is at the moment stands in its record below HOME.
"""

import json
import os
import sys
from pathlib import Path

import uvicorn
from psycopg.conninfo import make_conninfo

from kpi_assets.simulators.api import ENVIRONMENT
from kpi_assets.simulators.app import make_app
from kpi_assets.simulators.databases import OPTIONS, ROLE


def main(home: Path, port: int) -> None:
    """Serve until a signal comes."""
    given = json.loads(os.environ.pop(ENVIRONMENT))

    def url_of(database: str) -> str:
        record = json.loads((home / "run" / "postgres.json").read_text())
        return make_conninfo(
            host="127.0.0.1",
            port=record["port"],
            user=ROLE,
            password=given["password"],
            dbname=database,
            options=OPTIONS,
            sslmode="disable",
            application_name="kpi simulators",
        )

    uvicorn.run(
        make_app(given, url_of),
        host="127.0.0.1",
        port=port,
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=1,  # an answer that hangs is not waited for
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
