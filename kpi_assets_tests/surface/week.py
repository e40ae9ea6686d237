"""Ten load_dates of the shipped pipeline instacart, as readers come to see them: one restated, and the newest held."""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize.build import build
from kpi_assets.materialize.verify_object import verify
from kpi_assets.samples import GENERATORS
from kpi_assets.settings import default_sql_dir
from kpi_assets_tests.pipeline_harness import PipelineHarness

NAME = "instacart"
ORDERS = (410, 374, 381, 395, 442, 520, 549, 418, 383)  # of each load_date that passes
CORRECTED = 425  # orders of the restated load_date, in the end
NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)>'\"&"


class InstacartWeek(PipelineHarness):
    """The pipeline; `held` is today, the load_date before it the latest that is shown."""

    held = datetime.now(timezone.utc).date()

    @property
    def latest(self) -> date:
        """The last good day."""
        return self.held - timedelta(days=1)

    @property
    def restated(self) -> date:
        """The load_date whose objects were replaced."""
        return self.held - timedelta(days=5)

    @property
    def nasty(self) -> date:
        """The load_date whose products have names that are markup."""
        return self.held - timedelta(days=3)

    @classmethod
    @contextmanager
    def filled(cls, stack: Stack, folder: Path) -> Iterator["InstacartWeek"]:
        """Yield the pipeline with all its load_dates."""
        with cls.open(stack, folder, default_sql_dir() / NAME, NAME) as week:
            assert isinstance(week, InstacartWeek)
            first = week.held - timedelta(days=len(ORDERS))
            for number, orders in enumerate(ORDERS):
                day = first + timedelta(days=number)
                assert week.deliver(day, orders, change=_is_nasty if day == week.nasty else None) == "published"
            assert week.deliver(week.restated, CORRECTED, seed=2) == "published"
            assert week.deliver(week.held, 390, faults=["duplicate_line"]) == "held"
            yield week

    def deliver(
        self,
        day: date,
        orders: int,
        *,
        seed: int = 1,
        faults: Sequence[str] = (),
        change: Callable[[Path], None] | None = None,
    ) -> str:
        """Put the objects of a load_date, and build all tables up to a held one; return the outcome."""
        with TemporaryDirectory() as folder:
            files = Path(folder) / str(day)
            GENERATORS[NAME].write(files, load_date=day, orders=orders, seed=seed, faults=list(faults))
            if change:
                change(files)
            keys = [table.object_key(day) for table in self.pipeline().object_tables]
            for path in sorted(files.iterdir()):
                [key] = [key for key in keys if key.endswith(f"/{path.name}")]
                self.put(key, path.read_bytes())
        context = self.prepared()
        for table in context.pipeline.due_tables(day):
            if (table.has_object and verify(context, table, day).held) or build(context, table, day).held:
                return "held"
        return "published"


def _is_nasty(files: Path) -> None:
    """Write markup before the name of each product."""
    path = files / "products.csv"
    rows = list(csv.reader(path.read_text().splitlines()))
    place = rows[0].index("product_name")
    for row in rows[1:]:
        row[place] = NASTY + row[place]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
