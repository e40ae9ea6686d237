"""Checks of the tables of a pipeline against each other: unknown tables, circles, views, windows, and duplicate names.

Belongs here: errors that need two files. Not here: reading the files (folder.py), and a pipeline without errors
(pipeline.py).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from graphlib import CycleError, TopologicalSorter
from itertools import combinations
from pathlib import Path

from kpi_assets.model import growing
from kpi_assets.model.calendar import EVERY_DAY, named
from kpi_assets.model.column_reads import unknown_columns
from kpi_assets.model.folder import Folder
from kpi_assets.model.header import Lookback
from kpi_assets.model.key_overlap import Shared, shared_object
from kpi_assets.model.live import check_live
from kpi_assets.model.lookback import Key
from kpi_assets.model.names import OBJECTS, PREVIOUS, Relation
from kpi_assets.model.pii_tables import with_pii
from kpi_assets.model.pipeline import TAKEN_JOBS, Pipeline
from kpi_assets.model.pipeline_config import PIPELINE_FILE
from kpi_assets.model.replay import check_replay
from kpi_assets.model.sentences import known_names
from kpi_assets.model.source import Source
from kpi_assets.model.strict_yaml import ModelError, Problems
from kpi_assets.model.table import Table
from kpi_assets.model.table_ref import THIS

_NO_MEASURES = "is no measure of a KPI: no KPI of this pipeline has measures, so write them in its header first"
_CARRIED_FOR = 5 * 366  # days for which each day is compared with the object that is carried to it


def in_build_order(folder: Folder, problems: Problems) -> dict[Relation, Table]:
    """Return the tables and live views without errors, each after those that it reads."""
    sound = {}
    for table in folder.tables.values():
        own = Problems()
        _check_neighbors(table, folder, own)
        if not own.found:
            sound[table.relation] = table
        problems.found += own.found
    reads = {relation: [each for each in table.reads if each in sound] for relation, table in sound.items()}
    order = _sorted(reads, sound, problems)
    known = {}
    for relation in order:
        with problems.collected():
            known[relation] = _with_neighbors(sound[relation], folder.tables)
    return with_pii(known, problems)


def _sorted(
    reads: Mapping[Relation, Sequence[Relation]], tables: Mapping[Relation, Table], problems: Problems
) -> list[Relation]:
    """Return the tables in build order, without the tables that read each other in a circle."""
    left = dict(reads)
    while True:
        try:
            return [each for each in TopologicalSorter(left).static_order() if each in left]
        except CycleError as error:
            first, reader = error.args[1][:2]  # each is read by the next
            circle = " -> ".join(map(str, error.args[1]))
            problems.add(
                tables[reader].path,
                tables[reader].mentions[first],
                f"the tables read each other in a circle: {circle}; let one of them read something else",
            )
            for relation in error.args[1]:
                left.pop(relation, None)


def _with_neighbors(table: Table, tables: Mapping[Relation, Table]) -> Table:
    """Return the table with facts from its inputs' headers: the types of sums, and which rows of a window count."""
    if not table.storage.has_load_date:
        return table
    known = {relation: each.readable_types for relation, each in tables.items()}
    table = replace(table, checks=tuple(check.with_columns(known) for check in table.checks))
    if table.query is None:
        return table
    types = {relation: tables[relation].readable_types for relation in table.query.reads if relation in tables}
    has_unknown_sums = check_replay(table.query, types, table.path)
    keys = {}
    for relation in (each for each in table.window_reads if each in tables):
        assert table.header.lookback is not None
        keys[relation] = window_key(relation, tables, table.header.lookback, table.path, table.mentions[relation])
    histories = {relation: each.history_read for relation, each in tables.items() if each.history_read}
    query = replace(table.query.with_neighbors(keys, histories), has_unknown_sums=has_unknown_sums)
    for rule in table.rules:  # a replay must set the same rows aside
        of_rule = {each: tables[each].readable_types for each in rule.mentions if each in tables}
        check_replay(rule.rows, {**of_rule, Relation("", THIS): table.types}, table.path)
    return replace(
        table,
        query=query,
        checks=tuple(check.with_neighbors(keys, histories) for check in table.checks),
        rules=tuple(rule.with_neighbors(keys, histories) for rule in table.rules),
    )


def window_key(relation: Relation, tables: Mapping[Relation, Table], lookback: Lookback, path: Path, line: int) -> Key:
    """Return which rows of a table count in a window. Raises ModelError for that line if neither header says so."""
    other = tables[relation]
    if lookback.rows == "all":
        return None
    origin = tables.get(other.origin.relation, other)
    if origin.header.versions == "latest":
        return tuple(other.header.grain)
    raise ModelError(
        path,
        line,
        f"{relation} is read over {lookback.days} calendar days, and nothing says which of its rows count: write "
        f"`versions: latest` in the header of {origin.relation} if only the latest row of each "
        f"{', '.join(origin.header.grain)} does, or `lookback: {{days: {lookback.days}, rows: all}}` here if all do",
    )


def _check_neighbors(table: Table, folder: Folder, problems: Problems) -> None:
    if table.storage.has_load_date:
        _check_reads(table, folder, problems)
    else:
        check_live(table, folder, problems)
    types = {relation: other.readable_types for relation, other in folder.tables.items()}
    for line, problem in unknown_columns(table.query, types) if table.query else ():
        problems.add(table.path, line, problem)
    for check in (*table.checks, *table.rules):
        check.check_neighbors(types, table.path, problems)


def _check_reads(table: Table, folder: Folder, problems: Problems) -> None:
    for relation, line in table.mentions.items():
        if relation == table.relation:
            problems.add(table.path, line, f"reads {relation}, which is itself: a check reads its build as {THIS}")
        elif relation not in folder.files:
            problems.add(
                table.path, line, f"reads {relation}, which has no file here: correct the name or add the file"
            )
        elif relation in folder.tables and not folder.tables[relation].storage.has_load_date:
            problems.add(
                table.path, line, f"reads {relation}, which is live and has no load_dates: only live views can read it"
            )
    if table.grows:
        for line, problem in growing.of_neighbors(table.relation, table.mentions, table.growing_reads, folder.tables):
            problems.add(table.path, line, problem)
    if not table.storage.stores_rows:
        with problems.collected():
            _check_view(table, folder)


def _check_view(table: Table, folder: Folder) -> None:
    """Raise ModelError for a view that promises more than its table: it shows rows as soon as the table has them."""
    storage = f"storage: {table.storage.name}"
    for relation in (each for each in table.reads if each in folder.tables and folder.tables[each].header.history):
        raise ModelError(
            table.path, 1, f"{storage} shows the rows of each load_date, and {relation} is a history: read it itself"
        )
    if table.query is None or table.query.projection is None:
        raise ModelError(
            table.path,
            1,
            f"{storage} is for a SELECT of one table's columns as they are, where load_date is given: write that, or "
            "take the word out, and the table has rows of its own",
        )
    relation, columns = table.origin
    if relation not in folder.tables:
        return
    shown, header = folder.tables[relation], table.header
    if not shown.storage.stores_rows:
        raise ModelError(
            table.path, 1, f"{storage} shows {relation}, which is a {shown.storage.name} itself: read what that shows"
        )
    if [columns[column] for column in header.grain] != shown.header.grain:
        raise ModelError(table.path, 1, f"{storage} keeps the grain of {relation}: {', '.join(shown.header.grain)}")
    for name, there in columns.items():
        if there in shown.columns and header.columns[name].type != shown.header.columns[there].type:
            raise ModelError(
                table.path, 1, f"{storage} keeps the types of {relation}: {name!r} has another there, write that"
            )


def check_sources(pipeline: Pipeline, problems: Problems) -> None:
    """Add a problem for raw tables with the same object or name, which S3 or ops could not distinguish."""
    raw = [*pipeline.object_tables, *pipeline.stream_tables]
    for one, other in combinations(sorted(raw, key=lambda table: table.relation), 2):
        if one.relation.table == other.relation.table:
            problems.add(
                other.path,
                1,
                f"{one.relation} is a raw table of the same name, by which the object of each is known: rename one",
            )
            continue
        if one.stream or other.stream:
            continue  # check_streams compares their folders
        first, second = one.source, other.source
        shared = shared_object(first.key, second.key, pipeline.config.start_date)
        if shared:
            problems.add(
                other.path,
                1,
                f"{one.relation} reads the same object{_when(shared, first, second)} ({second.object}): give each an "
                "object of its own, or let one table select from the other",
            )


def _when(shared: Shared, one: Source, other: Source) -> str:
    """Return of which load_date two sources have the same object, or which object; empty if they are the same."""
    if one.object == other.object:
        return ""
    if shared.one == shared.other and not (one.key.is_pattern or other.key.is_pattern):
        return f" of {shared.one}"
    return f", such as {shared.key}"


def check_streams(pipeline: Pipeline, folder: Folder, problems: Problems) -> None:
    """Add a problem for streams that share their name or folder, and for the word `live` without a stream."""
    streams = sorted(pipeline.stream_tables, key=lambda table: table.relation)
    for one, other in combinations(streams, 2):
        if one.stream == other.stream:
            text = f"{one.relation} has the stream {one.stream!r} too, which is landed once: select from {one.relation}"
            problems.add(other.path, 1, text)
        elif _is_below(one.source.object, other.source.object) or _is_below(other.source.object, one.source.object):
            text = f"{one.relation} has its objects in the same folder ({one.source.object}): give each a folder"
            problems.add(other.path, 1, f"the objects of the stream lie in {other.source.object}, and {text}")
    for table in pipeline.object_tables:
        for stream in (each for each in streams if _is_below(table.source.object, each.source.object)):
            problems.add(
                table.path,
                1,
                f"the object lies in {stream.source.object}, where {stream.relation} has the objects of its stream: "
                "give it another folder",
            )
    for table in pipeline.tables.values():
        words = {"refresh": table.header.refresh, "freshness.within_minutes": _in_minutes(table)}
        for word in (word for word, is_there in words.items() if is_there and not pipeline.streams_of(table)):
            text = f"{word} is for tables that read tables that grow, and {table.relation} reads none: take it out"
            problems.add(table.path, 1, text)
        freshness, refresh = table.header.freshness, table.header.refresh
        if refresh and freshness and freshness.within_minutes and freshness.within_minutes <= refresh.minutes:
            text = (
                f"freshness.within_minutes: {freshness.within_minutes:g} is not more than refresh, {refresh.minutes:g} "
                "minutes: between two builds the KPI would be late; build it more often, or let it be older"
            )
            problems.add(table.path, 1, text)
    if not streams and "live" in pipeline.config.model_fields_set:
        line = folder.lines.of("live") if folder.lines else 1
        problems.add(
            folder.config_path, line, "live is for pipelines with a stream, and no source has one: take it out"
        )


def _in_minutes(table: Table) -> bool:
    return table.header.freshness is not None and table.header.freshness.within_minutes is not None


def _is_below(key: str, folder: str) -> bool:
    return key.startswith(folder)


def check_calendars(pipeline: Pipeline, problems: Problems) -> None:
    """Add a problem for each table that is never due, because what it needs is never due on the same day."""
    for relation, table in pipeline.tables.items():
        reads = sorted(table.load_date_reads)
        if not pipeline.calendars[relation].is_empty or any(pipeline.calendars[read].is_empty for read in reads):
            continue  # a table that only reads such a table is named by that one
        if table.header.source:
            problems.add(
                table.path,
                1,
                f"{relation} is never due: its object comes {table.source.calendar_text}, and no such day is in the "
                f"calendar of {PIPELINE_FILE}: change one of them",
            )
            continue
        named = " and ".join(f"{read}{_comes(pipeline, read)}" for read in reads)
        problems.add(
            table.path,
            table.mentions[reads[-1]],
            f"{relation} is never due: it reads {named} of its own load_date, which are never due on the same day: "
            "read one of them over a window (lookback), or change when it comes",
        )


def check_carried(pipeline: Pipeline, problems: Problems) -> None:
    """Add a problem for each source whose object is carried for fewer days than there are between two of them."""
    for relation, table in pipeline.tables.items():
        most = table.source.carried_days if table.header.source else None
        first = table.delivery_calendar.next_after(pipeline.config.start_date - timedelta(days=1)) if most else None
        if most is None or first is None:
            continue
        age, longest, longest_on = 0, 0, first
        for day in (first + timedelta(days=n) for n in range(_CARRIED_FOR)):
            age = 0 if table.delivery_calendar.is_due(day) else age + 1
            if age > longest and pipeline.calendars[relation].is_due(day):
                longest, longest_on = age, day
        if longest > most:
            problems.add(
                table.path,
                1,
                f"carried_days: {most} leaves {relation} without an object on {named(longest_on)}, {longest} days "
                f"after the last one, since it comes {table.source.calendar_text}: write {longest} or more",
            )


def check_apis(pipeline: Pipeline, problems: Problems) -> None:
    """Add a problem for each source whose API pipeline.yaml does not have, or says nothing that a GET can send."""
    known = pipeline.config.apis
    for table in pipeline.object_tables:
        name, call = table.source.api, table.source.call
        if name is None or call is None:
            continue
        if name not in known:
            has = f"has {', '.join(known)}" if known else "has no apis"
            problems.add(
                table.path, 1, f"source.api names {name!r}, and {PIPELINE_FILE} {has}: write it under apis there"
            )
        elif known[name].body and call.method == "GET":
            problems.add(
                table.path,
                1,
                f"apis.{name} of {PIPELINE_FILE} has a body, which only a POST sends: write method: POST in the call, "
                "or move the words to query",
            )


def _comes(pipeline: Pipeline, relation: Relation) -> str:
    """Return when the objects come on which a table depends for its own load_date, in brackets; empty for each day."""
    roots, waiting = dict[Relation, str](), [relation]
    while waiting:
        table = pipeline.tables[waiting.pop()]
        if table.header.source and table.source_calendar.kinds != EVERY_DAY.kinds:
            roots[table.relation] = table.source.calendar_text
        waiting += table.load_date_reads
    texts = [text if root == relation else f"{root} {text}" for root, text in sorted(roots.items())]
    return f" ({', '.join(texts)})" if texts else ""


def check_retention(pipeline: Pipeline, folder: Folder, problems: Problems) -> None:
    """Add a problem if retention names a table that does not carry on, or drops rows that others show or look back on.

    A table that carries on needs its latest load_date only; other tables of marts are kept whole.
    """
    for name in (name for name in pipeline.config.retention if "." in name):
        table = pipeline.tables.get(Relation.parse(name))
        if table is None or not table.carries_on:
            line = folder.lines.of("retention", name) if folder.lines else 1
            what = f"reads no rows of its own by %({PREVIOUS})s" if table else "has no file here"
            problem = f"the table {what}: name tables that carry on, or a schema of raw or staging"
            if table and table.storage.keeps_versions:
                problem = "a history keeps all its versions: take it out"
            problems.add(folder.config_path, line, f"retention.{name}: {problem}")
    for relation, table in pipeline.tables.items():
        own, repeats = pipeline.retention_days(table), table.header.repeats
        if own is not None and repeats and own < repeats.load_dates:
            problems.add(
                table.path,
                1,
                f"repeats looks for a row in {repeats.load_dates} load_dates, of which retention keeps {own} "
                f"({PIPELINE_FILE}): look back on fewer, or keep more",
            )
        for window_input in pipeline.window_inputs_of(table):
            kept = pipeline.retention_days(pipeline.tables[window_input])
            if kept is not None and table.header.lookback and kept < table.header.lookback.days:
                problems.add(
                    table.path,
                    1,
                    f"lookback reads {table.header.lookback.days} calendar days of {window_input}, of which retention "
                    f"keeps {kept} ({PIPELINE_FILE}): look back on fewer days, or keep more",
                )
        for view in pipeline.views_of(relation) if pipeline.retention_days(table) else ():
            shown = pipeline.tables[view]
            if pipeline.layer(view) == "marts" or shown.header.kpi:
                problems.add(
                    shown.path,
                    1,
                    f"storage: {shown.storage.name} shows {relation}, whose rows retention drops ({PIPELINE_FILE}), "
                    "and marts and KPIs stay: take the word out, and it has rows of its own",
                )


def check_boards(pipeline: Pipeline, folder: Folder, problems: Problems) -> None:
    """Add a problem for each name on a board that is no measure of one KPI, or stands there twice."""
    known = pipeline.tile_names
    for board, names in pipeline.config.boards.items():
        seen: set[tuple[Relation, str]] = set()
        for number, name in enumerate(names):
            found, problem = pipeline.tiles_called(name), ""
            if len(found) > 1:
                problem = f"is a measure of {' and of '.join(str(relation) for relation, _ in found)}: write the schema"
            elif not found:
                problem = f"is no measure of a KPI: {known_names(name, known)}" if known else _NO_MEASURES
            elif found[0] in seen:
                problem = "stands here twice: take it out once"
            seen.update(found)
            if problem:
                line = folder.lines.of("boards", board, number) if folder.lines else 1
                problems.add(folder.config_path, line, f"boards.{board}: {name!r} {problem}")


def check_release(pipeline: Pipeline, folder: Folder, problems: Problems) -> None:
    """Add a problem for KPIs that grow in a pipeline that shows its KPIs together: they have no last publish."""
    growing = [table for table in pipeline.tables.values() if table.header.kpi and pipeline.streams_of(table)]
    if pipeline.config.release and growing:
        problems.add(
            folder.config_path,
            folder.lines.of("release") if folder.lines else 1,
            f"release: {pipeline.config.release}: {growing[0].relation} grows all day, and is shown at once: take the "
            "word out",
        )


def check_views(folder: Folder, problems: Problems) -> None:
    """Add a problem for a file with the name `<table>_latest` or `<table>_masked` of a view that a table has."""
    for relation, table in folder.tables.items():
        if table.header.readers and table.masked_view in folder.files:
            problems.add(
                folder.files[table.masked_view],
                1,
                f"{table.masked_view} is the view in which {relation} is masked for readers: give this file another "
                "name",
            )
        if table.header.kpi and table.latest_view in folder.files:
            problems.add(
                folder.files[table.latest_view],
                1,
                f"{table.latest_view} is the view that readers of the KPI {relation} are given: give this file another "
                "name",
            )


def check_jobs(folders: Collection[Folder], problems: Problems) -> None:
    """Add a problem for jobs with the same name: the jobs of all pipelines share one namespace in Dagster."""
    jobs = {f"{folder.name}_{what}": folder.name for folder in folders for what in TAKEN_JOBS}
    for folder in folders:
        if folder.name in jobs:
            job = f"a job of the pipeline {jobs[folder.name]!r}"
            problems.add(folder.config_path, 1, f"the folder is called like {job}: rename the folder")
        if folder.name == "run_history":
            problems.add(
                folder.config_path, 1, "the folder is called like the job that deletes old runs: rename the folder"
            )


def check_generated_names(folders: Iterable[Folder], problems: Problems) -> None:
    """Add a problem for files whose builds and steps have the same name `<pipeline>__<schema>__<table>`."""
    seen: dict[str, str] = {}
    for folder in folders:
        for relation, path in folder.files.items():
            keys = [(folder.name, *relation)]
            if relation in folder.tables and folder.tables[relation].has_object:
                keys.append((folder.name, OBJECTS, relation.table))
            for key in keys:
                name, shown = "__".join(key), "/".join(key)
                other = seen.get(name)
                if other and other != shown:
                    problems.add(
                        path,
                        1,
                        f"{shown} and {other} give the same name to what is made of them ({name}): rename one of them",
                    )
                seen[name] = shown
