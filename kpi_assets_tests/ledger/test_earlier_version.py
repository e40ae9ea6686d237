"""A database of an earlier version is migrated without making published load_dates stale or changing their rows.

earlier_version/README.md describes its contents.
"""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from typer.testing import CliRunner

from kpi_assets.cli import workspace
from kpi_assets.cli.app import app
from kpi_assets.embedded.stack import Stack
from kpi_assets.ledger import incidents, publishes, schema
from kpi_assets.materialize import retention
from kpi_assets.materialize.context import UpstreamError
from kpi_assets.materialize.recheck import check_as_published, recheck
from kpi_assets.model.names import Relation
from kpi_assets.monitoring.recovery import close_recovered
from kpi_assets.plan.collect import collect
from kpi_assets.settings import settings
from kpi_assets.warehouse import provision
from kpi_assets_tests.pipeline_harness import PipelineHarness

FILES = Path(__file__).parent / "earlier_version"
EXPECTED: dict[str, Any] = json.loads((FILES / "expected.json").read_text())
DAYS = [date(2025, 3, n) for n in range(1, 6)]
DROPPED, SECOND, REPLACED, HELD, LAST = DAYS
NEXT = date(2025, 3, 6)


@pytest.fixture
def earlier(stack: Stack, tmp_path: Path) -> Iterator[PipelineHarness]:
    """The restored database with its objects on S3, prepared as at the start of a run."""
    with PipelineHarness.open(stack, tmp_path, FILES / "sql", "earlier") as lab:
        provision.ensure_roles(lab.server)
        provision.ensure_database(lab.server, lab.name)
        with lab.session() as session:
            session.execute(sql.SQL((FILES / "database.sql").read_text()))
        for day in DAYS:
            put(lab, day)
        lab.prepared()
        yield lab


def put(lab: PipelineHarness, day: date) -> None:
    """Land the objects of a load_date."""
    for name in ("customers", "orders"):
        body = (FILES / f"objects/{name}/load_date={day}/{name}.csv").read_bytes()
        lab.put(f"raw/{name}/load_date={day}/{name}.csv", body)


def plan(lab: PipelineHarness) -> list[list[Any]]:
    """Return (load_date, state, cause, tables to build) of each load_date, in the form of expected.json."""
    with lab.session() as session:
        found = collect(lab.pipeline(), lab.store, session, DAYS[0], DAYS[-1])
        return [
            [str(each.load_date), each.state, each.stale_reason, list(each.tables_to_build)]
            for year in found
            for each in year
        ]


def published(lab: PipelineHarness, day: date | None = None) -> dict[str, list[Any]]:
    """Return (rows, checksum) of each publish by table and load_date, in the form of expected.json."""
    with lab.session() as session:
        found = publishes.all_current(session)
    return {f"{p.asset} {p.load_date}": [p.rows, p.checksum] for p in found if day in {None, p.load_date}}


def test_migrations_apply_and_nothing_that_is_published_becomes_stale(earlier: PipelineHarness) -> None:
    with earlier.session() as session:
        assert schema.pending(session) == []
        [incident] = incidents.open_incidents(session)
    assert (incident["load_date"], incident["kind"]) == (HELD, "held")
    versions = {str(r): [t.code_version, t.checks_version] for r, t in earlier.pipeline().tables.items()}
    assert versions == EXPECTED["versions"]
    assert published(earlier) == EXPECTED["published"]
    assert plan(earlier) == EXPECTED["plan"]


def test_rows_are_shown_and_checked_as_before_the_migration(
    earlier: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KPI_SQL_DIR", str(earlier.root))
    settings.cache_clear()
    workspace.read_tree.cache_clear()
    for name, lines in EXPECTED["shown"].items():
        asset, day = name.split()
        said = CliRunner().invoke(app, ["show", "earlier", asset, "--load-date", day, "--format", "csv"])
        assert (said.exit_code, said.stdout.splitlines()) == (0, lines), name
    monkeypatch.undo()
    settings.cache_clear()
    workspace.read_tree.cache_clear()
    context = earlier.context()
    with earlier.session() as session:
        for publish in publishes.all_current(session):
            table = context.pipeline.table(publish.asset)
            found = check_as_published(session, table, publish)
            assert (found.passed, found.message) == (True, ""), publish
            if publish.load_date == DROPPED:
                with pytest.raises(UpstreamError, match="were dropped by retention"):
                    recheck(context, table, publish.load_date)
            else:
                results = recheck(context, table, publish.load_date)
                assert [result.name for result in results if result.blocks_publish] == []


@pytest.mark.nightly
def test_rebuilt_load_dates_have_their_old_checksums_and_new_ones_are_published(earlier: PipelineHarness) -> None:
    tables = [str(relation) for relation in earlier.pipeline().tables]
    # Load_dates that retention dropped are replayed. Published ones are built again from the same window.
    for day in (DROPPED, REPLACED):
        assert [name for name in tables if earlier.build(name, day).held] == []
    assert published(earlier, DROPPED) == {**EXPECTED["dropped"], **of_day(EXPECTED["published"], DROPPED)}
    assert published(earlier, REPLACED) == of_day(EXPECTED["published"], REPLACED)
    # The object of the held load_date is delivered again without the duplicate order.
    key = f"raw/orders/load_date={HELD}/orders.csv"
    lines = (FILES / "objects/orders" / f"load_date={HELD}" / "orders.csv").read_text().splitlines()
    earlier.put(key, "\n".join([*lines[:-1], ""]).encode())
    put(earlier, NEXT)
    for day in (HELD, LAST, NEXT):
        assert [name for name in tables if earlier.build(name, day).held] == []
    assert [state for _, state, *_ in plan(earlier)] == ["published"] * 5
    with earlier.session() as session:
        assert close_recovered(session, earlier.pipeline()) == [HELD]
        assert incidents.open_incidents(session) == []
        latest = session.execute("select distinct load_date from marts.kpi_products_latest").fetchall()
        kept = session.execute(
            "select relname from pg_class where relnamespace = 'builds'::regnamespace and relkind in ('r', 'p') "
            "and not relispartition"
        ).fetchall()
    assert (latest, kept) == ([(NEXT,)], [])
    assert earlier.rows("select count(*) from marts.kpi_products") == [
        (sum(rows for name, (rows, _) in published(earlier).items() if name.startswith("marts.kpi_products ")),)
    ]


def of_day(found: dict[str, list[Any]], day: date) -> dict[str, list[Any]]:
    """Return the entries of one load_date."""
    return {name: each for name, each in found.items() if name.endswith(f" {day}")}


def test_partitions_and_rows_of_the_earlier_version_can_be_dropped(earlier: PipelineHarness) -> None:
    context = earlier.context()
    with earlier.session() as session:
        wanted = [Relation("raw", "orders"), Relation("raw", "customers")]
        due = list(publishes.current(session, wanted, SECOND).values())
    assert [reason for _, reason in retention.drop_due(context, due)] == ["", ""]
    shown = of_day(EXPECTED["published"], SECOND)
    assert published(earlier, SECOND) == {name: each for name, each in shown.items() if name.startswith("marts.")}
    assert earlier.rows(f"select 1 from raw.orders where load_date = '{SECOND}'") == []
    assert earlier.rows(f"select 1 from raw.customers where load_date = '{SECOND}'") == []
