"""Dated files: the files of many load_dates in one folder, each with the key under which it is landed.

The load_date of a file is the part of its path that the source's key names, or else the date in its path:

    2025-06-01/visits.csv        visits_2025-06-01.csv        Sales 20250601.CSV        2025_06_01.csv
    2025/06/01/visits.csv        year=2025/month=6/day=1/visits.csv

It belongs to the source

1. whose key ends as its path does, from the first folder on;
2. or whose table one of its folders is called by;
3. or whose key has the same file name, without the dates;
4. or to the only source of the pipeline, if the extension is the same.

Belongs here: which file is landed under which key. Not here: the files of one load_date that is known (landing.py).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath

from kpi_assets.errors import UsageError
from kpi_assets.model.object_key import ObjectKey
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table

NAMED = 3  # files that a sentence names
_DATES = [
    re.compile(r"(?<![0-9])(?P<y>[0-9]{4})(?P<s>[-_]?)(?P<m>[0-9]{2})(?P=s)(?P<d>[0-9]{2})(?![0-9])"),
    re.compile(r"(?<![^/])(?P<y>[0-9]{4})/(?P<m>[0-9]{2})/(?P<d>[0-9]{2})(?=[/.])"),
    re.compile(r"(?<![^/])year=(?P<y>[0-9]{4})/month=(?P<m>[0-9]{1,2})/day=(?P<d>[0-9]{1,2})(?![0-9])"),
]
_BETWEEN = " -_."  # what stands between the date and the rest of a file name


@dataclass(frozen=True, eq=False)
class DatedFile:
    """A file, and the object that it is landed as; without a load_date for a reference object.

    `is_marker` says that it is no data, but tells that all objects of its load_date are there.
    """

    path: Path
    size: int
    table: Table
    load_date: date | None
    key: str
    is_marker: bool = False


@dataclass(frozen=True)
class DatedFiles:
    """The files of a folder that are landed, by load_date, and what is left out.

    `unknown` are the files that belong to no source or have no load_date; `refused` the load_dates that the pipeline
    does not have, each with a sentence.
    """

    files: Sequence[DatedFile]
    unknown: Sequence[Path]
    refused: Mapping[date, str]

    @property
    def load_dates(self) -> list[date]:
        """The load_dates that are landed."""
        return sorted({each.load_date for each in self.files if each.load_date})


@dataclass(frozen=True)
class _Target:
    """The key of a source, or of the marker of a source."""

    table: Table
    key: ObjectKey
    is_marker: bool = False

    @property
    def name(self) -> str:
        """The name of the table, for people."""
        return str(self.table.relation)


def find_dated_files(pipeline: Pipeline, folder: Path) -> DatedFiles:
    """Find the files of a folder and of the folders in it that belong to a source of the pipeline.

    Raises UsageError if there is none, if a path has two dates, if a file may belong to two sources, and if two files
    belong to one key: nothing can be landed before that is clear.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise UsageError(f"The folder {folder.absolute()} {what}: name another with --from.")
    targets = _targets(pipeline)
    found: dict[str, DatedFile] = {}
    unknown: list[Path] = []
    for path in sorted(_files(folder)):
        file = _dated_file(targets, folder, path)
        if file is None:
            unknown.append(path)
        elif file.key in found:
            raise UsageError(
                f"Two files belong to the key {file.key}: {found[file.key].path} and {path}. Take one of them "
                "out of the folder."
            )
        else:
            found[file.key] = file
    if not found:
        keys = ", ".join(dict.fromkeys(target.key.text for target in targets))
        raise UsageError(
            f"No file below {folder} belongs to {pipeline.name} and has its load_date in its path, such as "
            f"2025-06-01/orders.csv or orders_20250601.csv (keys: {keys}): name another folder with --from, or give "
            "--load-date."
        )
    refusals = [(each, _refusal(pipeline, each)) for each in found.values()]
    refused = {each.load_date: refusal for each, refusal in refusals if each.load_date and refusal}
    files = [each for each, refusal in refusals if not refusal]
    files.sort(key=lambda each: (each.is_marker, each.load_date or date.min, each.key))
    return DatedFiles(files, unknown, dict(sorted(refused.items())))


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _targets(pipeline: Pipeline) -> list[_Target]:
    targets = []
    for table in pipeline.object_tables:
        targets.append(_Target(table, table.source.key))
        marker = table.source.marker_key
        if marker is not None and all(marker.text != each.key.text for each in targets):
            targets.append(_Target(table, marker, is_marker=True))
    return targets


def _refusal(pipeline: Pipeline, file: DatedFile) -> str:
    """Return why a file is not landed: its day is no load_date. Empty if it is landed."""
    try:
        if file.load_date:
            pipeline.check_delivery(file.load_date, [file.table])
    except UsageError as error:
        return str(error)
    return ""


def _dated_file(targets: Sequence[_Target], folder: Path, path: Path) -> DatedFile | None:
    """Return what a file is landed as; None if it belongs to no source or has no load_date."""
    below = path.relative_to(folder).as_posix()
    for belongs in (_has_its_path, _is_in_its_folder, _has_its_name, _has_its_extension):
        if belongs is _has_its_extension and sum(not each.is_marker for each in targets) > 1:
            continue
        fitting = [target for target in targets if belongs(target, below) and _may_be(target, below)]
        if len(fitting) > 1:
            names = " or ".join(dict.fromkeys(target.name for target in fitting))
            keys = ", ".join(target.key.text for target in fitting)
            raise UsageError(
                f"The file {path} may belong to {names} (keys: {keys}): put it into a folder with the name of its "
                f"table, such as {fitting[0].table.relation.table}/."
            )
        if fitting:
            [target] = fitting
            load_date = None if target.key.is_reference else _load_date(target, path, below)
            key = _key(target, below, load_date)
            if key is None:
                return None
            return DatedFile(path, path.stat().st_size, target.table, load_date, key, target.is_marker)
    return None


def _may_be(target: _Target, below: str) -> bool:
    """Whether a path has what an object of the target needs: a date, if the key has one, and the name of a pattern."""
    return target.key.is_reference or bool(_by_form(target.key, below) or _dates(below))


def _load_date(target: _Target, path: Path, below: str) -> date:
    """Return the load_date in a path. Raises UsageError if there are several."""
    by_form = _by_form(target.key, below)
    if by_form:
        return by_form
    dates = sorted(_dates(below))
    if len(dates) > 1:
        raise UsageError(
            f"The path {path} has several dates ({', '.join(map(str, dates))}), so its load_date is not clear: leave "
            "only the load_date in it."
        )
    return dates[0]


def _key(target: _Target, below: str, load_date: date | None) -> str | None:
    """Return the key of a file; that of a pattern has the name of the file, which must fit."""
    key = target.key.key(load_date or date.min)
    if not target.key.is_pattern or load_date is None:
        return key
    own = str(PurePosixPath(key).parent / PurePosixPath(below).name)
    return own if target.key.matches(own, load_date) else None


def _segments(key: ObjectKey) -> int:
    return 1 + sum(token.text.count("/") for token in key.tokens)


def _last(below: str, count: int) -> str:
    return "/".join(below.split("/")[-count:])


def _by_form(key: ObjectKey, below: str) -> date | None:
    """Return the date where the key has it, in the longest end of a path that is written as the key is."""
    for count in range(min(_segments(key), below.count("/") + 1), 0, -1):
        found = key.tail(count).match(_last(below, count))
        if found:
            return found
    return None


def _dates(below: str) -> set[date]:
    """Return the dates in a path, in one of the usual forms."""
    found = set()
    for pattern in _DATES:
        for match in pattern.finditer(below):
            try:
                found.add(date(int(match["y"]), int(match["m"]), int(match["d"])))
            except ValueError:  # eight digits that are no date
                continue
    return found


def _has_its_path(target: _Target, below: str) -> bool:
    """Whether the key ends as the path does, or the path as the key does."""
    count = min(_segments(target.key), below.count("/") + 1)
    return target.key.tail(count).has_form_of(_last(below, count))


def _is_in_its_folder(target: _Target, below: str) -> bool:
    """Whether one of the folders has the name of the table."""
    folders = [folder.casefold() for folder in below.split("/")[:-1]]
    return target.table.relation.table in folders and _has_its_extension(target, below) and not target.is_marker


def _has_its_name(target: _Target, below: str) -> bool:
    """Whether the file name is that of the key, without the dates."""
    name, last = PurePosixPath(below).name, target.key.tail(1)
    if last.has_form_of(name):
        return True
    texts = "".join(token.text for token in last.tokens if token.kind != "date")
    return not last.is_pattern and _plain(_without_dates(name)) == _plain(texts)


def _has_its_extension(target: _Target, below: str) -> bool:
    """Whether the file name has the extension of the key."""
    texts = "".join(token.text for token in target.key.tail(1).tokens if token.kind != "date")
    extension = "".join(PurePosixPath(f"x{texts}").suffixes)
    return below.casefold().endswith(extension.casefold()) and not target.is_marker


def _without_dates(name: str) -> str:
    for pattern in _DATES:
        name = pattern.sub("", name)
    return name


def _plain(name: str) -> str:
    """Return a file name without what stands between its parts, in small letters."""
    stem, dot, extension = name.casefold().partition(".")
    return stem.strip(_BETWEEN) + dot + extension.strip(_BETWEEN)
