"""The figures of all pipelines, for Prometheus and for whoever takes telemetry: read at most once in LEAST_PAUSE.

Belongs here: how often they are read, and what is said of a pipeline that cannot be read. Not here: reading those of
one pipeline (telemetry/figures.py).
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from threading import Lock

import psycopg

from kpi_assets.errors import UserError
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.surface.databases import Databases, NotPreparedError
from kpi_assets.surface.files import Files
from kpi_assets.telemetry.figures import Figure, read_figures, unread

LEAST_PAUSE = 5.0  # seconds: who asks more often gets what was read last


class Figures:
    """Reads the figures. Safe for threads: who comes while they are read waits for them."""

    def __init__(self, databases: Databases, files: Files) -> None:
        self._databases, self._files = databases, files
        self._lock = Lock()
        self._read_at, self._figures = -LEAST_PAUSE, list[Figure]()
        self.thread = ThreadPoolExecutor(1, "figures")  # so that no page waits for a thread

    def now(self) -> Sequence[Figure]:
        """Return the figures of all pipelines that were ever run."""
        with self._lock:
            if time.monotonic() - self._read_at >= LEAST_PAUSE:
                self._figures = [each for pipeline in self._files.pipelines.values() for each in self._of(pipeline)]
                self._read_at = time.monotonic()
            return self._figures

    def close(self) -> None:
        """Read nothing more."""
        self.thread.shutdown(wait=False, cancel_futures=True)

    def _of(self, pipeline: Pipeline) -> list[Figure]:
        try:
            with self._databases.lend(pipeline.name) as connection:
                return read_figures(connection, pipeline, datetime.now(timezone.utc))
        except NotPreparedError:
            return []
        except (UserError, psycopg.Error):
            return [unread(pipeline.name)]
