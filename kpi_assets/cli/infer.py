"""`kpi infer`: proposes the file of a raw table from samples of its objects."""

from pathlib import Path
from typing import Annotated

import typer

from kpi_assets.cli.terminal import err, say, styled
from kpi_assets.errors import UsageError, UserError
from kpi_assets.infer.names import table_name
from kpi_assets.infer.proposal import propose
from kpi_assets.infer.write import text_of
from kpi_assets.model.names import name_problem


def infer(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Files of one source, of several load_dates.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A new file to write, as in sql/<pipeline>/raw/<table>.sql.", show_default=False),
    ] = None,
) -> None:
    """Propose the file of a raw table from samples: its names, types, dialect and key."""
    table = out.stem if out else table_name(files[0])
    if out and (out.suffix != ".sql" or name_problem(table)):
        raise UsageError(f"{out} is not the file of a table: name it as in sql/<pipeline>/raw/<table>.sql.")
    if out and out.exists():
        raise UsageError(f"{out} exists: name a new file, or compare it with what kpi infer prints without --out.")
    proposal = propose(files, table, files)
    text = text_of(proposal)
    if out is None:
        typer.echo(text, nl=False)
    else:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{out} cannot be written ({error.strerror}): name another file.") from None
    if proposal.read:
        records = f"{proposal.records:,} record{'s' * (proposal.records != 1)}"
        say(f"Read {proposal.read:,} bytes with {records} of {_files(len(files))}.", console=err)
    choices = [name for name, column in zip(proposal.names, proposal.columns, strict=True) if len(column.readings) > 1]
    if choices:
        names = ", ".join(choices)
        say(styled("choose", "yellow"), f" how to read {names}: the file does not load before.", console=err)
    if out:
        say(styled("wrote", "green"), f" {out}. Read its comments, then run `kpi check`.", console=err)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
