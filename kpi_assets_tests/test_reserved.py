"""Every name may be a reserved word of SQL: a pipeline of such names is landed, held, published and dropped."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
import typer

from kpi_assets.assets.resources import plain_s3
from kpi_assets.cli import workspace
from kpi_assets.cli.app import app
from kpi_assets.definitions import build_defs
from kpi_assets.embedded.stack import Stack
from kpi_assets.settings import settings
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.reserved import GROUPS, NAME, ORDERS, write

YESTERDAY = date.today() - timedelta(days=1)  # noqa: DTZ011
BEFORE, OLD = YESTERDAY - timedelta(days=1), date(2025, 3, 1)


@pytest.fixture(scope="module")
def reserved(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    """The pipeline with reserved words, for the command in this process."""
    with (
        pytest.MonkeyPatch.context() as patch,
        PipelineHarness.open(stack, tmp_path_factory.mktemp("reserved"), name=NAME) as lab,
    ):
        write(lab)
        patch.setenv("KPI_SQL_DIR", str(lab.root))
        settings.cache_clear()
        workspace.read_tree.cache_clear()
        yield lab
    settings.cache_clear()
    workspace.read_tree.cache_clear()


def kpi(*words: object, code: int = 0) -> None:
    """Run a command in this process; it must end with `code`."""
    found = 0
    with suppress(SystemExit):
        try:
            found = app(list(map(str, words)), standalone_mode=False) or 0
        except typer.Exit as ended:
            found = ended.exit_code
    assert found == code


def land(lab: PipelineHarness, folder: Path, day: date, orders: bytes = ORDERS) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "order.csv").write_bytes(orders)
    (folder / "group.csv").write_bytes(GROUPS)
    kpi("land", NAME, "--load-date", day, "--from", folder, "--replace")


def test_the_definitions_of_a_pipeline_of_reserved_words_load(reserved: PipelineHarness) -> None:
    found = build_defs({"s3": plain_s3})
    dg.Definitions.validate_loadable(found)
    graph = found.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == {
        f"from/{name}"
        for name in (
            "s3/group", "s3/order", "table/group", "table/order", "all/check", "all/collate", "user/end", "user/limit",
            "user/window",
        )
    }  # fmt: skip
    assert {key.name for key in graph.asset_check_keys if key.asset_key.path[-1] == "check"} == {
        "grain", "reconcile", "with",
    }  # fmt: skip
    jobs = {job.name for job in found.resolve_all_job_defs()} - {"__ASSET_JOB", "run_history"}
    assert jobs == {"from_pipeline", "from_kpis", "from_recheck", "from_retention"}
    lineage = reserved.pipeline().lineage(reserved.pipeline().table("user.limit"))
    assert {name: [f"{r}.{c}" for r, c in of] for name, of in lineage.items()} == {
        "case": ["all.check.case"], "all": ["all.check.all"], "select": [], "is_low_volume": [],
    }  # fmt: skip


@pytest.mark.nightly
def test_reserved_words_are_landed_held_published_rechecked_and_dropped(
    reserved: PipelineHarness, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said() -> str:
        return capsys.readouterr().out

    def csv(table: str, *more: object) -> list[str]:
        said()
        kpi("show", NAME, table, "--format", "csv", *more)
        return said().splitlines()

    kpi("check")
    for day in (OLD, BEFORE):
        land(reserved, tmp_path / "day", day)
        kpi("run", NAME, "--load-date", day)
    assert csv("table.order") == ["user,end,all,rows,bad", "1,a,10.50,1,1", "2,b,60.00,1,2", "3,a,,1,3", "5,a,1.25,1,5"]
    assert csv("all.collate")[:2] == ["references,then", "1,10.50"]
    assert csv("all.check") == ["user,rows,case,all", "1,1,first,10.50", "2,1,last,60.00", "5,1,first,1.25"]
    assert csv("user.limit") == ["case,all,select", "first,11.75,2"]
    assert csv("user.limit", "--all")[1:] == ["first,11.75,2,false", "last,60.00,1,true"]
    assert reserved.rows('select "case", "all", "select" from "user".limit_latest') == [("first", 11.75, 2)]
    assert csv("user.window") == ["case,all", "first,11.75", "last,60.00"]

    # Every check with a reserved word in its name fails, and shows the bad rows.
    land(reserved, tmp_path / "day", YESTERDAY, b"user,end,all,rows,bad\n1,c,-1.00,1,1\n1,,3.00,1,1\n")
    kpi("run", NAME, "--load-date", YESTERDAY, code=3)
    said()
    kpi("checks", NAME, "--load-date", YESTERDAY)
    shown = [" ".join(line.split()) for line in said().splitlines()]
    for line in (
        "table.order accepted_values__end fail 1 0 1 bad row",
        "table.order foreign_key__end fail 1 0 1 bad row",
        "table.order grain fail 1 0 1 bad row",
        "table.order not_null fail 1 0 1 bad row",
        "table.order or pass 0 0",
        "table.order range__all fail 1 0 1 bad row",
        "table.order unique__primary fail 1 0 1 bad row",
    ):
        assert line in shown
    samples = [json.loads(line) for line in shown if line.startswith("{")]
    assert {"bad": 1, "rows": 1, "number of rows": 2} in samples
    assert {"user": 1, "rows": 2} in samples
    assert {"all": -1.0, "bad": 1, "end": "c", "rows": 1, "user": 1} in samples

    land(reserved, tmp_path / "day", YESTERDAY)
    kpi("run", NAME, "--load-date", YESTERDAY)
    kpi("plan", NAME)
    assert said().splitlines()[-1].startswith("3 published, ")
    kpi("recheck", NAME, "--load-date", YESTERDAY)
    kpi("doctor", "--deep")
    told = [line for line in said().splitlines() if f"database {NAME}: " in line]
    assert [line for line in told if line.startswith("broken")] == []
    assert [line for line in told if "has the rows and checksum of the ledger" in line] != []
    kpi("status")
    kpi("alerts", NAME)
    kpi("retention", NAME, "--drop")
    assert reserved.rows("select asset from ops.published where load_date = '2025-03-01' order by 1") == [
        ("user.end",), ("user.limit",), ("user.window",),
    ]  # fmt: skip
    kpi("drop", NAME, "user.limit", "--yes")
    assert (
        reserved.rows("select relname::text from pg_class where relname ~ 'limit' and relkind in ('r', 'p', 'v')") == []
    )
    kpi("backfill", NAME, "--from", BEFORE, "--to", YESTERDAY)
    assert csv("user.limit") == ["case,all,select", "first,11.75,2"]


def test_older_tables_are_handed_over_to_the_role_of_their_layer(reserved: PipelineHarness) -> None:
    reserved.prepared()
    with reserved.session() as session:
        session.execute('create table "table".old (a integer); create view "all".old as select 1 as a')
    reserved.prepared()
    owners = (
        "select oid::regclass::text, pg_get_userbyid(relowner)::text from pg_class where relname = 'old' order by 1"
    )
    assert reserved.rows(owners) == [('"all".old', "kpi_builder"), ('"table".old', "kpi_loader")]
