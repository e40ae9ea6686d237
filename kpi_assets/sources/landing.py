"""Landing: uploads files to S3 under a pipeline's keys. A landed object is immutable unless `replace` is set.

Belongs here: the file of each key, and uploads. Not here: reading (store.py), and asking for what is landed (api/).
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import date
from pathlib import Path, PurePosixPath
from threading import Event, Lock
from typing import BinaryIO, Literal

from kpi_assets.errors import UsageError, UserError
from kpi_assets.lake_places import object_url
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.sources.dated_files import DatedFile
from kpi_assets.sources.objects import TakenError
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import Store

AT_ONCE = 4  # uploads at the same time, each with a part in memory
MARKER_TYPE = "application/octet-stream"

Outcome = Literal["landed", "replaced", "unchanged"]


def files_of(pipeline: Pipeline, load_date: date, folder: Path) -> dict[str, Path]:
    """Return, for each key of a load_date, the file of a folder to be landed under it, which may be missing.

    The file is `<folder>/<key>`, or `<folder>/<table>/<file>`, or `<folder>/<file>` if no other key of the pipeline
    ends in that name. Where a load_date may have several objects, each file with such a name is landed under its name.
    Raises UsageError if the folder does not exist or has none of the files, or if a file could belong to several keys.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise UsageError(f"The folder {folder.absolute()} {what}: name another with --from.")
    tables = [table for table in pipeline.object_tables if table.source.key.has(load_date)]
    at_key = {key: folder / key for key in (table.object_key(load_date) for table in tables)}
    found = {key: path for key, path in at_key.items() if path.is_file()}
    by_name: dict[str, list[Table]] = {}
    for table in (each for each in tables if each.object_key(load_date) not in found):
        by_name.setdefault(Path(table.object_key(load_date)).name, []).append(table)
    for name, same in by_name.items():
        shared, own = folder / name, [folder / table.relation.table / name for table in same]
        if len(same) > 1 and shared.is_file() and not all(path.is_file() for path in own):
            raise UsageError(
                f"The file {shared} may belong to {' or '.join(str(table.relation) for table in same)}, whose keys "
                f"end in the same name, and not each of {' and '.join(map(str, own))} is there: put each table's file "
                "at its own place."
            )
        for table, path in zip(same, own, strict=True):
            if table.source.key.is_pattern:
                several = [*path.parent.glob(name)] or ([] if len(same) > 1 else [*folder.glob(name)])
                keys = {str(PurePosixPath(table.object_key(load_date)).parent / each.name): each for each in several}
                found.update(keys or {table.object_key(load_date): path})
            else:
                found[table.object_key(load_date)] = path if path.is_file() or len(same) > 1 else shared
    if not any(path.is_file() for path in found.values()):
        looked_for = ", ".join(str(path.relative_to(folder)) for path in found.values())
        raise UsageError(
            f"The folder {folder} holds none of {pipeline.name}'s files ({looked_for}): name another with --from."
        )
    return found


def file_problem(path: Path) -> str:
    """Return why a path that is not a file cannot be landed, as the end of "The file … "."""
    return "is not a regular file" if path.exists() else "is not there"


def land(
    store: Store,
    path: Path,
    key: str,
    *,
    replace: bool,
    content_type: str = MARKER_TYPE,
    on_progress: Callable[[int], None] = lambda _done: None,
) -> Outcome:
    """Upload a file to `key`, as an object of a content type; `on_progress` is called with the bytes done so far.

    An object with the same bytes is left as it is. Raises UserError if the file cannot be read, or if there is an
    object with other bytes and `replace` is not set.
    """
    if not path.is_file():
        raise UserError(f"The file {path} {file_problem(path)}: put it there, or name another folder with --from.")
    there = store.manifest("", date.min, key)
    if there and _same(store, there, path):
        on_progress(path.stat().st_size)
        return "unchanged"
    if there and not replace:
        raise UserError(
            f"{object_url(store.bucket, key)} holds other bytes than {path}: raw objects are immutable; "
            "say --replace if it is a correction."
        )
    with path.open("rb") as file:
        store.objects.upload(
            file,
            path.stat().st_size,
            key,
            content_type=content_type,
            metadata={},
            only_new=not there,
            on_progress=on_progress,
        )
    return "replaced" if there else "landed"


def land_body(
    store: Store, body: BinaryIO, size: int, key: str, *, content_type: str, metadata: Mapping[str, str], replace: bool
) -> Outcome:
    """Upload bytes, from where `body` stands, to `key`, with `metadata`; an object that is there stays as it is.

    Returns `unchanged` if there is one, also if somebody else landed it just now. With `replace` it is overwritten.
    Raises LakeError.
    """
    there = store.manifest("", date.min, key)
    if there and not replace:
        return "unchanged"
    try:
        store.objects.upload(
            body,
            size,
            key,
            content_type=content_type,
            metadata=metadata,
            only_new=not there,
            on_progress=lambda _done: None,
        )
    except TakenError:
        if store.manifest("", date.min, key) is None:  # the other upload has not ended, and may fail
            raise
        return "unchanged"
    return "replaced" if there else "landed"


def land_all(
    store: Store,
    files: Sequence[DatedFile],
    outcomes: dict[DatedFile, Outcome],
    *,
    replace: bool,
    on_progress: Callable[[int], None],
) -> list[UserError]:
    """Upload several files at once, and markers after all data; return an error for each file that was refused.

    `outcomes` has the outcome of each file that is landed, also if this raises. Raises LakeError if S3 cannot be used.
    """
    done: dict[DatedFile, int] = {}
    problems: list[UserError] = []
    incomplete: set[date | None] = set()  # their markers are not landed
    lock, stopped = Lock(), Event()

    def upload(file: DatedFile) -> None:
        def on_bytes(count: int) -> None:
            with lock:
                done[file] = count
                on_progress(sum(done.values()))
            if stopped.is_set() and count < file.size:
                raise _StoppedError

        if stopped.is_set() or (file.is_marker and file.load_date in incomplete):
            return
        kind = MARKER_TYPE if file.is_marker else file.table.format.content_type
        try:
            outcomes[file] = land(store, file.path, file.key, replace=replace, content_type=kind, on_progress=on_bytes)
        except LakeError:
            raise
        except UserError as error:
            problems.append(error)
            incomplete.add(file.load_date)

    for markers in (False, True):
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="land") as pool:
            uploads = [pool.submit(upload, each) for each in files if each.is_marker == markers]
            try:
                for each in as_completed(uploads):
                    each.result()
            except BaseException:
                stopped.set()
                pool.shutdown(cancel_futures=True)
                raise
    return problems


class _StoppedError(Exception):
    """An upload ends because the command is stopped, or because another upload failed."""


def _same(store: Store, there: Manifest, path: Path) -> bool:
    if there.size_bytes != path.stat().st_size:
        return False
    with path.open("rb") as file:
        return all(file.read(len(block)) == block for block in store.read(there))
