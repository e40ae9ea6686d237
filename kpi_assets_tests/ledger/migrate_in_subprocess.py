"""Prepare the database of a pipeline in a process of its own.

Usage: `python -m kpi_assets_tests.ledger.migrate_in_subprocess SQL_DIR PIPELINE`. The process prints `ready` and waits
for a line on stdin, so that a test can start several at once.
"""

import sys
from pathlib import Path

from kpi_assets.materialize.prepare import prepare
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import settings


def main(sql_dir: str, name: str) -> None:
    pipeline, server = load_pipelines(Path(sql_dir))[name], settings().postgres_url
    assert server is not None
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    prepare(pipeline, server)


if __name__ == "__main__":
    main(*sys.argv[1:])
