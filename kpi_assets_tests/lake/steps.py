"""The steps of a publish on the lake, and what happens right after one of them.

Usage: `python -m kpi_assets_tests.lake.steps SQL_DIR PIPELINE BUCKET TABLE LOAD_DATE STEP` builds a table in a process
that kills itself after a step. It uses the servers of its environment.
"""

import os
import signal
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kpi_assets.lake.session import Engine
from kpi_assets.lake.tables import Tables
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.in_lake import InLake
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import settings
from kpi_assets.sources.store import Store
from kpi_assets_tests.lake.server import needed


def _is_of_main(statement: str) -> bool:
    """Whether a statement takes a load_date out of `main`, before the rows that take its place are picked."""
    return statement.startswith("delete from ") and "`branch_" not in statement


def _always(*_: object) -> bool:
    return True


# After which call of a method a step is done; the ledger's transaction has ended when `after_publish` begins.
STEPS: dict[str, tuple[type, str, Callable[..., bool]]] = {
    "fill": (InLake, "fill", _always),
    "audit": (InLake, "audit", _always),
    "tag": (InLake, "prepare", _always),
    "ledger": (InLake, "after_publish", _always),
    "half of main": (Engine, "execute", _is_of_main),
    "main": (Tables, "mirror", _always),
}


def after(patch: pytest.MonkeyPatch, step: str, act: Callable[[], None]) -> None:
    """Call `act` when a build has done a step, and before the next one begins."""
    owner, name, is_it = STEPS[step]
    original = getattr(owner, name)

    def with_act(this: Any, *given: Any, **words: Any) -> Any:
        if step == "ledger":
            act()
        result = original(this, *given, **words)
        if step != "ledger" and is_it(*given):
            act()
        return result

    patch.setattr(owner, name, with_act)


def main(sql_dir: str, pipeline_name: str, bucket: str, table: str, load_date: str, step: str) -> None:
    needed()
    after(pytest.MonkeyPatch(), step, lambda: os.kill(os.getpid(), signal.SIGKILL))
    pipeline, config = load_pipelines(Path(sql_dir))[pipeline_name], settings()
    assert config.postgres_url is not None
    context = BuildContext(pipeline, config.postgres_url, Store.open(config, bucket), "killed-run")
    build(context, pipeline.table(table), date.fromisoformat(load_date))


if __name__ == "__main__":
    main(*sys.argv[1:])
