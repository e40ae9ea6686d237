"""Build one table, or grow it, in a process that kills itself with SIGKILL at a given point.

Usage: `python -m kpi_assets_tests.materialize.build_in_subprocess STEP SQL_DIR PIPELINE BUCKET TABLE LOAD_DATE PHASE N`
with `build` or `grow` as STEP. The process dies when the step reports PHASE for the Nth time. It uses the servers of
its environment.
"""

import os
import signal
import sys
from datetime import date
from pathlib import Path

from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.grow import grow
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import settings
from kpi_assets.sources.store import Store

RUN_ID = "killed-run"
STEPS = {"build": build, "grow": grow}


def main(
    step: str, sql_dir: str, pipeline_name: str, bucket: str, table: str, load_date: str, fatal: str, times: str
) -> None:
    pipeline = load_pipelines(Path(sql_dir))[pipeline_name]
    config = settings()
    assert config.postgres_url is not None
    left = int(times)

    def die_at_the_point(phase: str, done: int, total: int) -> None:
        nonlocal left
        left -= phase == fatal
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    context = BuildContext(pipeline, config.postgres_url, Store.open(config, bucket), RUN_ID, die_at_the_point)
    STEPS[step](context, pipeline.table(table), date.fromisoformat(load_date))


if __name__ == "__main__":
    main(*sys.argv[1:])
