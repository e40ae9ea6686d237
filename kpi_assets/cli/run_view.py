"""The live view of a run: one line for each asset, with its phase or outcome and the time it took."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from rich.live import Live
from rich.table import Table as Grid

from kpi_assets.cli.terminal import err, say, styled
from kpi_assets.materialize.context import Progress, shown_progress
from kpi_assets.printable import printable

UPSTREAM_UNPUBLISHED = "what it reads was not published"
ENDINGS = {
    "published": "green",
    "verified": "green",
    "held": "bold red",
    "failed": "red",
    "missing": "yellow",
    "skipped": "yellow",
}


@dataclass
class _Line:
    state: str = "waiting"
    detail: str = ""
    since: float = 0.0
    seconds: float = 0.0


@dataclass
class RunView:
    """The state of each asset of a run: on a terminal a table that is redrawn, elsewhere one line when an asset ends.

    `reads` maps each asset to the assets that it reads. A `quiet` view shows nothing.
    """

    title: str
    names: Sequence[str]
    reads: Mapping[str, Sequence[str]]
    quiet: bool = False
    lines: dict[str, _Line] = field(default_factory=dict)

    def __enter__(self) -> "RunView":
        self.lines = {name: _Line() for name in self.names}
        self._live = Live(get_renderable=self._draw, console=err, refresh_per_second=8, transient=False)
        if err.is_terminal and not self.quiet:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, line in self.lines.items():
            if kind is None and line.state not in ENDINGS:
                self._end(name, "skipped", self._why_skipped(name) if line.state == "waiting" else line.state)
        if err.is_terminal and not self.quiet:
            self._live.stop()

    def reporter(self, _log: Any, subject: str) -> "Progress":
        """Return the progress callback of one asset, as the resource `progress` does; `subject` is `name load_date`."""
        name = subject.partition(" ")[0]

        def report(phase: str, done: int, total: int) -> None:
            line = self.lines.setdefault(name, _Line())
            line.since = line.since or time.monotonic()
            if phase in ENDINGS:
                self._end(name, phase, f"{done:,} rows" if phase == "published" else "")
            else:
                line.state = phase
                line.detail = shown_progress(phase, done, total)

        return report

    def _why_skipped(self, name: str) -> str:
        """Return why an asset was not started. The lines are in build order, so the lines of its inputs are final."""
        inputs = [self.lines[other] for other in self.reads.get(name, ()) if other in self.lines]
        unpublished = any(
            line.state in {"held", "failed", "missing"} or line.detail == UPSTREAM_UNPUBLISHED for line in inputs
        )
        return UPSTREAM_UNPUBLISHED if unpublished else "the run ended before it started"

    def _end(self, name: str, state: str, detail: str) -> None:
        line = self.lines[name]
        line.state, line.detail = state, detail
        line.seconds = time.monotonic() - line.since if line.since else 0.0
        if not err.is_terminal and not self.quiet:
            state_cell = styled(f"{state:10}", ENDINGS[state])
            say(f"{name:32} ", state_cell, f" {line.seconds:6.1f} s  {detail}", console=err)

    def _draw(self) -> Grid:
        grid = Grid(title=printable(self.title), title_justify="left", title_style="bold", box=None, pad_edge=False)
        for column in ("asset", "state"):
            grid.add_column(column, no_wrap=True)
        for column in ("", "seconds"):
            grid.add_column(column, justify="right", no_wrap=True)
        for name, line in self.lines.items():
            ended = line.state in ENDINGS
            spent = line.seconds if ended else time.monotonic() - line.since if line.since else 0.0
            style = ENDINGS.get(line.state, "dim" if line.state == "waiting" else "cyan")
            grid.add_row(name, styled(line.state, style), line.detail, f"{spent:.1f}" if line.since else "")
        return grid
