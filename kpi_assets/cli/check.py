"""`kpi check`: all errors in the files below sql/ at once, the fixtures that differ, and what an engine would refuse.

The files are read without a server. Fixtures are built on the embedded servers, even if the settings name other
servers, because a check must not touch those.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from kpi_assets.cli.arguments import ReportFormat, complete_pipeline
from kpi_assets.cli.terminal import progress_bar, say, styled
from kpi_assets.embedded.stack import embedded_servers
from kpi_assets.errors import UsageError, UserError
from kpi_assets.fixtures.cases import Case, CaseError, errors_of_files, find_cases, stray_files
from kpi_assets.fixtures.run import run_cases
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.model.tree import load_pipelines, pipeline_names
from kpi_assets.printable import strict_json
from kpi_assets.settings import settings

FIXTURES = "fixtures"  # the folder beside sql/


class EngineName(str, Enum):
    """An engine for which SQL can be written."""

    spark = "spark"
    duckdb = "duckdb"


def check(
    pipelines: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PIPELINE]...", help="Folders below sql/; all by default.", autocompletion=complete_pipeline
        ),
    ] = None,
    format: Annotated[ReportFormat, typer.Option(help="How to print the errors.")] = ReportFormat.table,  # noqa: A002
    fixtures: Annotated[
        bool, typer.Option("--fixtures/--no-fixtures", help="Whether to run the fixtures too, on the embedded servers.")
    ] = True,
    engine: Annotated[
        EngineName | None,
        typer.Option(
            help="Say instead of running fixtures what this engine would refuse of the SQL (see the page Portable SQL)."
        ),
    ] = None,
) -> None:
    """Print all errors in the files and all differences of fixtures: exit 0 none, 2 errors, 1 differences.

    With --engine, it prints what that engine would refuse: exit 1 if there is anything. Nothing else changes by it.
    """
    names = pipelines or []
    cases = [case for case in find_cases(_root()) if fixtures and (not names or case.pipeline in names)]
    wrong = [*_errors(names), *errors_of_files(cases)]
    differ: list[UserError] = []
    if format is ReportFormat.table:
        _say_files(wrong, names)
    if engine and not wrong:
        differ += _refused(engine, names)
        if format is ReportFormat.table:
            _say_refused(engine, names, differ)
    elif fixtures and not wrong:
        ran: Counter[str] = Counter()
        for case, found in _run_fixtures(cases):
            ran[case.pipeline] += 1
            differ += found
        differ += _stray_files(names)
        if format is ReportFormat.table:
            _say_fixtures(ran, differ)
    if format is ReportFormat.json:
        typer.echo(strict_json([_as_json(error) for error in [*wrong, *differ]], indent=2))
    if wrong or differ:
        raise typer.Exit(UsageError.exit_code if wrong else UserError.exit_code)


def _say_files(wrong: Sequence[UserError], names: Sequence[str]) -> None:
    for error in wrong:
        say(styled("error:", "bold red"), f" {error}")
    what = f"{len(wrong)} error{'s' * (len(wrong) != 1)}" if wrong else "All files can be read"
    say(f"{what}: {', '.join(_with_errors(wrong) or names or pipeline_names(settings().sql_dir)) or 'sql/'}.")


def _refused(engine: EngineName, names: Sequence[str]) -> list[ModelError]:
    """Return what an engine would refuse of the named pipelines, or of all."""
    from kpi_assets.model.portable.problems import problems  # noqa: PLC0415  imports the optimizer of sqlglot

    config = settings()
    known = load_pipelines(config.sql_dir, config.min_rows)
    return [
        each
        for name, pipeline in known.items()
        if not names or name in names
        for each in problems(pipeline, engine.value)
    ]


def _say_refused(engine: EngineName, names: Sequence[str], refused: Sequence[UserError]) -> None:
    for error in refused:
        say(styled("refused:", "bold red"), f" {error}")
    of = ", ".join(names or pipeline_names(settings().sql_dir))
    count = f"{len(refused)} place{'s' * (len(refused) != 1)}" if refused else "nothing"
    say(f"{engine.value} would refuse {count}: {of}.")


def _say_fixtures(ran: Counter[str], differ: Sequence[UserError]) -> None:
    for error in differ:
        say(styled("differs:", "bold red"), f" {error}")
    if not (ran or differ):
        return
    total = f"{ran.total()} fixture{'s' * (ran.total() != 1)}"
    if differ:
        count = len(differ)
        say(f"{count} difference{'s' * (count != 1)} in {total}: {', '.join(sorted(ran)) or FIXTURES + '/'}.")
    else:
        say(f"{total} passed: {', '.join(sorted(ran))}.")


def _errors(names: Sequence[str]) -> list[UserError]:
    """Return the errors of the named pipelines; of all pipelines and of their settings if none is named."""
    config = settings()
    known = pipeline_names(config.sql_dir)
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"There is no pipeline {unknown[0]!r}: there is {', '.join(known)}.")
    try:
        load_pipelines(config.sql_dir, config.min_rows)
    except ModelError as error:
        folders = {config.sql_dir / name for name in names}
        return [each for each in error.each if not names or folders & {*each.path.parents}]
    except UsageError as error:
        return [error]
    return []


def _root() -> Path:
    return settings().sql_dir.parent / FIXTURES


def _run_fixtures(cases: Sequence[Case]) -> Iterator[tuple[Case, list[CaseError]]]:
    """Yield the differences of each case. Without a case no server is started."""
    if not cases:
        return
    from kpi_assets.sources.s3_objects import client  # noqa: PLC0415  imports boto3

    config = settings()
    # The minimum rows of the settings are for real deliveries. Fixtures are smaller.
    pipelines = load_pipelines(config.sql_dir)
    no_servers: dict[str, object] = {
        **dict.fromkeys(("postgres_url", "lake_url", "s3_bucket", "s3_endpoint_url")),
        "lake_urls": {},
        "s3_buckets": {},
    }
    with (
        embedded_servers(config.model_copy(update=no_servers)) as servers,
        progress_bar("fixtures", len(cases), in_bytes=False) as bar,
    ):
        for done, found in enumerate(run_cases(pipelines, cases, servers.postgres, client(servers.settings)), 1):
            bar(done)
            yield found


def _stray_files(names: Sequence[str]) -> Iterator[CaseError]:
    for path in stray_files(_root()):
        if not names or path.relative_to(_root()).parts[0] in names:
            yield CaseError(path, "it belongs to no case: move it to <pipeline>/<schema>/<table>/<case>/")


def _with_errors(found: Sequence[UserError]) -> list[str]:
    """Return the names of the pipelines that have errors."""
    roots = (settings().sql_dir, _root())
    paths = [error.path for error in found if isinstance(error, ModelError)]
    return sorted({path.relative_to(root).parts[0] for path in paths for root in roots if root in path.parents})


def _as_json(error: UserError) -> dict[str, object]:
    if isinstance(error, ModelError):
        return {"file": str(error.path), "line": error.line, "problem": error.problem}
    if isinstance(error, CaseError):
        return {"file": str(error.path), "line": None, "problem": error.problem}
    return {"file": None, "line": None, "problem": str(error)}
