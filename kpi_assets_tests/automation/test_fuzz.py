"""Any text in a run's tags, name or selection, or in a cursor, stops neither sensor nor alerts and shows no secret."""

from collections.abc import Iterator
from datetime import date, datetime, timezone
from types import SimpleNamespace

import dagster as dg
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as fuzzed
from hypothesis import strategies as st

from kpi_assets.assets.run_tags import PARTITION, RANGE_END, RANGE_START, STATE, is_automatic, requested_load_dates
from kpi_assets.automation.alerts import LOOK_BACK, _pipeline_of, _requested, _since
from kpi_assets.automation.sensor_tick import LONGEST_REST, Sweep
from kpi_assets.automation.unfinished_runs import _builds, unfinished_load_dates
from kpi_assets.errors import UsageError
from kpi_assets.instance.processes import HOST, PROCESS, _may_live
from kpi_assets.settings import settings
from kpi_assets_tests.shipped import PIPELINE

CANARY = "canary-8c1f/secret"

DATES = st.dates(date(2024, 12, 1), date(2027, 1, 1)).map(str)
TEXTS = st.one_of(
    st.text(max_size=20),
    DATES,
    DATES.map(lambda text: text.replace("-0", "-")),
    DATES.map(lambda text: text.replace("-", "")),
    DATES.map(lambda text: text.translate({ord("0") + n: chr(0x0660 + n) for n in range(10)})),
    DATES.map(lambda text: text.translate({ord("0") + n: chr(0xFF10 + n) for n in range(10)})),
    st.builds(
        "{}{}{}".format, st.sampled_from(["", " ", "\n", "\0"]), DATES, st.sampled_from(["\0", "\n", " ", "T00"])
    ),
    st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=4), st.integers(1, 3000)),
)
OURS = [PARTITION, RANGE_START, RANGE_END, STATE, "kpi/outcome", HOST, PROCESS]
SYSTEM = [
    "dagster/parent_run_id",
    "dagster/root_run_id",
    "dagster/retry_number",
    "dagster/backfill",
    "dagster/max_retries",
]
TAGS = st.dictionaries(st.sampled_from([*OURS, *SYSTEM]), TEXTS, max_size=6)
KEYS = st.builds(dg.AssetKey, st.lists(st.one_of(st.just(PIPELINE.name), st.text(max_size=8)), max_size=4))
RUNS = st.builds(
    lambda name, tags, selection: dg.DagsterRun(name, tags=tags, asset_selection=selection),
    name=st.one_of(st.sampled_from(["instacart", "instacart_kpis", "instacart_recheck", "alerts"]), st.text()),
    tags=TAGS,
    selection=st.one_of(st.none(), st.frozensets(KEYS, max_size=3)),
)
QUICK = fuzzed(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put a secret into the settings, as a password and as a part of a URL."""
    monkeypatch.setenv("KPI_POSTGRES_URL", f"postgresql://kpi:{CANARY.replace('/', '%2F')}@127.0.0.1:9/kpi")
    monkeypatch.setenv("KPI_ALERT_WEBHOOK_URL", f"http://127.0.0.1:9/{CANARY}")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


def is_a_sentence(text: str) -> bool:
    # A sentence quotes up to 40 letters of a tag, each escaped if it cannot be printed.
    return text.endswith(".") and text.isprintable() and len(text) < 800


@pytest.mark.nightly
@QUICK
@given(run=RUNS)
@example(run=dg.DagsterRun(job_name="", asset_selection=frozenset([dg.AssetKey([])])))
@example(run=dg.DagsterRun(job_name="instacart", tags={RANGE_START: "0001-01-01", RANGE_END: "9999-12-31"}))
def test_any_run_gives_load_dates_that_may_be_built_or_an_error_in_one_sentence(run: dg.DagsterRun) -> None:
    try:
        days = requested_load_dates(PIPELINE, run.tags)
    except UsageError as error:
        assert is_a_sentence(str(error))
        assert CANARY not in str(error)
        first, told = _requested(PIPELINE, run)
        assert first is None
        assert is_a_sentence(told)
    else:
        today = datetime.now(timezone.utc).date()
        assert all(PIPELINE.config.start_date <= day <= today for day in days)
        expected = None if run.job_name == PIPELINE.recheck_job else next(iter(days), None)
        assert _requested(PIPELINE, run)[0] == expected
    assert is_automatic(run.tags) in {True, False}
    assert _builds(run, PIPELINE) in {True, False}
    owner = _pipeline_of(SimpleNamespace(dagster_run=run), [PIPELINE])  # type: ignore[arg-type]
    named = any(key.path[:1] == ["instacart"] for key in run.asset_selection or ())
    assert owner is (PIPELINE if named or f"{run.job_name}_".startswith("instacart_") else None)


@QUICK
@given(found=st.lists(RUNS, min_size=1, max_size=4))
def test_the_load_date_of_a_queued_run_is_seen_whatever_else_is_queued(found: list[dg.DagsterRun]) -> None:
    good = dg.DagsterRun("instacart", tags={PARTITION: "2025-07-01"})
    pages = [[*found, good], []]
    instance = SimpleNamespace(get_runs=lambda *_, **__: pages.pop(0))
    days, problems = unfinished_load_dates(instance, PIPELINE)  # type: ignore[arg-type]
    assert date(2025, 7, 1) in days
    assert set(problems) <= {run.run_id for run in found}
    assert all(is_a_sentence(text) and CANARY not in text for text in problems.values())


@QUICK
@given(told=TEXTS)
@example("9" * 30)
@example("-1 1")
def test_any_text_in_the_process_tag_is_read_without_an_error(told: str) -> None:
    assert _may_live(told) in {True, False}


CURSORS = st.one_of(
    st.text(),
    st.datetimes().map(str),
    st.datetimes(timezones=st.timezones()).map(lambda at: at.isoformat()),
    st.builds(
        '{{"year": {}, "rest_until": {}}}'.format,
        st.sampled_from(["2025", "-1", "1e999", "1e5", "NaN", "null", '"x"', "9" * 5000, "[]"]),
        st.sampled_from(["0", "1e999", "-1e999", "NaN", "null", '"1"', "{}"]),
    ),
)


@QUICK
@given(cursor=CURSORS)
@example("[" * 2000)
@example("9999-12-31T23:59:59.999999-23:59")
@example("0001-01-01T00:00:00+23:59")
def test_any_text_in_a_cursor_leaves_the_look_back_and_the_sweep_within_their_bounds(cursor: str) -> None:
    now = datetime.now(timezone.utc)
    assert now - LOOK_BACK <= _since(cursor, now) <= now
    sweep = Sweep.parse(cursor, now.timestamp())
    assert not sweep.rest_until > now.timestamp() + LONGEST_REST
    assert Sweep.parse(sweep.text(), now.timestamp()) == sweep
