"""The landing of all streams of a pipeline: a thread for each, which ends when the process is asked to.

Not here: what one of them does (land.py), and the command (cli/stream.py).
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from pydantic import SecretStr

from kpi_assets.errors import UserError
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import Settings
from kpi_assets.sources.lake import Lake, open_lake
from kpi_assets.sources.store import bucket_of
from kpi_assets.stream.described import Stream
from kpi_assets.stream.land import AGAIN_SECONDS, FIRST_PAUSE, MOST_WAITING, Landing
from kpi_assets.stream.positions import Recorder
from kpi_assets.stream.reader import open_reader
from kpi_assets.waiting import Waits
from kpi_assets.warehouse.connection import connect
from kpi_assets.warehouse.provision import LOADER

logger = logging.getLogger(__name__)


def land_all(
    pipeline: Pipeline,
    streams: Sequence[Stream],
    settings: Settings,
    server: SecretStr,
    is_over: Callable[[], bool],
) -> None:
    """Land streams until it is over. Whatever a person or time can mend is logged and survived.

    Raises UserError if the settings name no store or broker.
    """
    lake = open_lake(settings, bucket_of(pipeline, settings))
    ended = threading.Event()
    failures: list[BaseException] = []

    def land(stream: Stream) -> None:
        try:
            _land(pipeline, stream, settings, server, lake, MOST_WAITING // len(streams), ended.is_set)
        except BaseException as error:  # raised below, in the thread that waits
            failures.append(error)
            ended.set()

    threads = [threading.Thread(target=partial(land, stream), name=f"land {stream.name}") for stream in streams]
    for thread in threads:
        thread.start()
    try:
        while not is_over() and not ended.wait(0.2):
            pass
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


def _land(
    pipeline: Pipeline,
    stream: Stream,
    settings: Settings,
    server: SecretStr,
    lake: Lake,
    most_waiting: int,
    is_over: Callable[[], bool],
) -> None:
    waits, said = Waits(f"the landing of {stream.name} cannot begin"), ""
    session = partial(connect, server, pipeline.name, f"stream {stream.name}", role=LOADER)
    with Recorder(stream.name, session) as recorder:
        while not is_over():
            try:
                with open_reader(settings, stream.name) as reader:
                    logger.info("%s is landed below %s.", stream.name, stream.folder)
                    landing = Landing(stream, reader, lake, recorder, pipeline=pipeline.name, most_waiting=most_waiting)
                    landing.run(is_over)
            except UserError as error:
                if settings.stream_url is None:
                    raise
                if str(error) != said:
                    logger.warning("%s", said := str(error))
                waits(lambda cause=error: cause)  # type: ignore[misc]
                _pause(FIRST_PAUSE * 5 if error.transient else AGAIN_SECONDS / 6, is_over)


def _pause(seconds: float, is_over: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not is_over():
        time.sleep(0.1)
