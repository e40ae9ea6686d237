"""The figures of the ledger, with exact values, and the page that Prometheus reads."""

from datetime import datetime, timedelta, timezone

from kpi_assets.ledger import incidents
from kpi_assets.materialize.tick import tick
from kpi_assets.settings import settings
from kpi_assets.surface.databases import open_reader
from kpi_assets.telemetry import instruments
from kpi_assets.telemetry.figures import Figure, read_figures
from kpi_assets.telemetry.instruments import OF_THE_LEDGER, Instrument
from kpi_assets.telemetry.page import text_of
from kpi_assets_tests.clicks_pipeline import ClicksPipeline
from kpi_assets_tests.pipeline_harness import DOUBLED, GOOD, MART, NEXT, RAW_THINGS, PipelineHarness
from kpi_assets_tests.surface.server import serving

KPI_MART = MART.replace(
    "grain: [thing_id]", "grain: [thing_id]\nkpi: {chart: {x: thing_id, y: weight}}\nfreshness: {within_hours: 36}"
)
NOON = datetime(2025, 3, 2, 12, tzinfo=timezone.utc)
Values = dict[Instrument, dict[tuple[str, ...], float]]


def read(lab: PipelineHarness, now: datetime = NOON) -> Values:
    """Return the figures by instrument and labels, without the pipeline; they are read as `kpi serve` reads them."""
    with open_reader(lab.server, lab.name) as connection:
        figures = read_figures(connection, lab.pipeline(), now)
    assert {figure.labels[0] for figure in figures} == {lab.name}
    found: Values = {}
    for each in figures:
        assert each.labels[1:] not in found.get(each.instrument, {}), "one value for each series"
        found.setdefault(each.instrument, {})[each.labels[1:]] = each.value
    return found


def test_the_figures_of_tables_and_kpis(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/kpi_things.sql", KPI_MART)
    lab.put_things(GOOD)
    lab.build("raw.things")
    lab.build("marts.kpi_things")
    lab.put_things(DOUBLED, NEXT)
    lab.build("raw.things", NEXT)

    found = read(lab)
    [(published,)] = lab.rows("select published_at from ops.published where asset = 'raw.things'")
    assert found[instruments.LEDGER_READ] == {(): 1}
    assert found[instruments.FRESHNESS] == {("marts.kpi_things",): 12 * 3600}
    assert found[instruments.LATE] == {("marts.kpi_things",): 0}
    assert found[instruments.ROWS] == {("raw.things",): 2, ("marts.kpi_things",): 1}
    assert found[instruments.PUBLISHED]["raw.things",] == published.timestamp()
    assert found[instruments.HELD] == {("raw.things",): 1, ("marts.kpi_things",): 0, ("s3.things",): 0}
    raw = {status: found[instruments.CHECKS]["raw.things", status] for status in ("pass", "fail", "warn", "error")}
    assert (raw["fail"], raw["warn"], raw["error"]) == (1, 0, 0)
    assert raw["pass"] == len(lab.pipeline().table("raw.things").checks) - 1
    assert {kind: count for (kind,), count in found[instruments.INCIDENTS].items()} == {
        **dict.fromkeys(("failed", "late", "stalled", "breached", "drifted", "waived"), 0),
        "held": 1,
    }
    assert instruments.LAG not in found

    late = read(lab, NOON + timedelta(days=1, seconds=1))
    assert late[instruments.LATE] == {("marts.kpi_things",): 1}
    assert late[instruments.FRESHNESS] == {("marts.kpi_things",): 36 * 3600 + 1}
    with lab.session() as session:
        incidents.report_late(session, lab.name, NEXT, "It is late.", kpi="marts.kpi_things")
    assert read(lab)[instruments.INCIDENTS]["late",] == 1

    lab.put_things(GOOD, NEXT)
    lab.build("raw.things", NEXT)
    assert read(lab)[instruments.HELD]["raw.things",] == 0


def test_what_the_files_do_not_declare_has_no_figures(lab: PipelineHarness) -> None:
    path = lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(GOOD)
    lab.build("raw.things")
    path.unlink()
    lab.file("raw/others.sql", RAW_THINGS.replace("things", "others"))
    found = read(lab)
    assert instruments.ROWS not in found
    assert found[instruments.HELD] == {("raw.others",): 0, ("s3.others",): 0}


def test_the_figures_of_streams_and_of_kpis_that_grow(clicks: ClicksPipeline) -> None:
    through = datetime.now(timezone.utc).replace(microsecond=0)
    clicks.land("a", "b")
    clicks.report(through, lag=5)
    clicks.report(through - timedelta(seconds=30), lag=7, partition=1)
    tick(clicks.context(), clicks.day)
    found = read(clicks, through + timedelta(seconds=10))
    assert found[instruments.LAG] == {("clicks",): 12}
    assert found[instruments.LANDED_AGE] == {("clicks",): 40}
    assert found[instruments.STOPPED] == {("clicks",): 0}
    # Nothing more was found than partition 0 had, so the events are built that were landed through that instant.
    [(built,)] = clicks.rows("select through from ops.batches where asset = 'raw.clicks'")
    age = (through + timedelta(seconds=10) - built).total_seconds()
    assert found[instruments.FRESHNESS] == {("marts.kpi_clicks",): age, ("marts.kpi_total",): age}
    assert instruments.LATE not in found, "neither has a freshness"

    with clicks.session() as session:
        session.execute("update ops.stream_positions set problem = 'x', caught_up_at = null where partition = 1")
    found = read(clicks, through)
    assert found[instruments.STOPPED] == {("clicks",): 1}
    assert instruments.LANDED_AGE not in found


def test_the_page_has_every_figure_and_says_if_a_ledger_cannot_be_read(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(GOOD)
    lab.build("raw.things")
    with serving(settings().model_copy(update={"sql_dir": lab.root})) as client:
        client.json("/api/v1/version")  # the files have been read
        lines = client.get("/metrics").data.decode().splitlines()
        assert f'kpi_ledger_read{{pipeline="{lab.name}"}} 1' in lines
        assert f'kpi_rows{{pipeline="{lab.name}",asset="raw.things"}} 2' in lines
        assert "# TYPE kpi_rows gauge" in lines
        assert "kpi_serve_in_flight 1" in lines

        surface = client.app.state.surface
        surface.figures._read_at -= 10
        lab.in_postgres(f'alter database "{lab.name}" allow_connections false')
        lab.in_postgres("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", lab.name)
        answer = client.get("/metrics")
        lab.in_postgres(f'alter database "{lab.name}" allow_connections true')
        assert answer.status == 200
        assert [line for line in answer.data.decode().splitlines() if line.startswith("kpi_") and lab.name in line] == [
            f'kpi_ledger_read{{pipeline="{lab.name}"}} 0'
        ]


def test_numbers_and_labels_are_written_as_prometheus_reads_them() -> None:
    figures = [
        Figure(instruments.LAG, ("shop", 'a"b\\c\nd'), 10**18),
        Figure(instruments.FRESHNESS, ("shop", "marts.kpi"), 1741000000.125),
    ]
    assert text_of(figures).splitlines() == [
        f"# HELP kpi_freshness_seconds {instruments.FRESHNESS.meaning}",
        "# TYPE kpi_freshness_seconds gauge",
        'kpi_freshness_seconds{pipeline="shop",kpi="marts.kpi"} 1741000000.125',
        f"# HELP kpi_stream_lag {instruments.LAG.meaning}",
        "# TYPE kpi_stream_lag gauge",
        'kpi_stream_lag{pipeline="shop",stream="a\\"b\\\\c\\nd"} 1000000000000000000',
    ]
    assert {each.kind for each in OF_THE_LEDGER} == {"gauge"}
