"""Candidates: the first rows and the chart that people see, the index of the grain, and which builds may be dropped."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from kpi_assets.model.kpi import Chart
from kpi_assets.model.slices import slices_at
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.preview import chart_rows, first_rows
from kpi_assets_tests.machine import eventually
from kpi_assets_tests.pipeline_harness import DAY, NEXT, RAW_THINGS, PipelineHarness

WAITING = "select count(*) from pg_locks where not granted and pid = %s"


@pytest.fixture
def candidate(shared: PipelineHarness, session: Connection[Any]) -> Candidate:
    """An empty candidate of raw.things."""
    shared.file("raw/things.sql", RAW_THINGS)
    made = Candidate(shared.pipeline().table("raw.things"), DAY, 7)
    candidates.create_empty(session, made)
    return made


def fill(session: Connection[Any], candidate: Candidate, *rows: tuple[int, str, float | None]) -> None:
    for row in rows:
        session.execute(f"insert into {candidate.relation} (thing_id, name, weight) values (%s, %s, %s)".encode(), row)


def test_the_first_rows_are_ordered_by_the_grain(session: Connection[Any], candidate: Candidate) -> None:
    fill(session, candidate, (3, "c", None), (1, "ü", 1.5), (2, "b", 2))
    assert first_rows(session, candidate, 2) == [
        {"thing_id": "1", "name": "ü", "weight": "1.50"},
        {"thing_id": "2", "name": "b", "weight": "2.00"},
    ]


def test_every_row_of_a_candidate_has_its_load_date(session: Connection[Any], candidate: Candidate) -> None:
    fill(session, candidate, (1, "a", 1))
    assert session.execute(f"select load_date from {candidate.relation}".encode()).fetchall() == [(DAY,)]


@pytest.mark.parametrize(
    ("top", "bars"),
    [
        (4, [("1", 5.0), ("2", None), ("9", 17.0), ("10", 5.0)]),
        (3, [("9", 17.0), ("1", 5.0), ("10", 5.0)]),
        (1, [("9", 17.0)]),
    ],
)
def test_a_chart_has_all_bars_by_x_or_the_highest_by_value(
    session: Connection[Any], candidate: Candidate, top: int, bars: list[tuple[str, float | None]]
) -> None:
    fill(session, candidate, (10, "a", 5), (9, "b", 17), (1, "c", 5), (2, "d", None))
    assert chart_rows(session, candidate, Chart(x="thing_id", y="weight", top=top)) == (bars, 4)


def test_a_bar_is_called_by_its_label(session: Connection[Any], candidate: Candidate) -> None:
    fill(session, candidate, (1, "a", 5), (2, "b", 17))
    chart = Chart.model_validate({"x": "thing_id", "y": "weight", "labels": {1: "One"}})
    assert chart_rows(session, candidate, chart).bars == [("One", 5.0), ("2", 17.0)]


def test_indexes_of_two_slices_are_built_at_once_despite_long_names(lab: PipelineHarness) -> None:
    """Index names of our own never collide. The server would cut the names that it makes from table and columns."""
    long = "things_" * 5
    lab.file(f"raw/{long}.sql", RAW_THINGS.replace("raw/things", f"raw/{long}"))
    whole = Candidate(lab.pipeline().table(f"raw.{long}"), DAY, 1_234_567)
    one, other = whole.cut(slices_at([5]))
    with lab.session() as first, lab.session() as second:
        for part in (one, other):
            candidates.create_empty(first, part)
        second.execute("set lock_timeout = '5s'")
        with first.transaction():
            assert candidates.build_index(first, one)
            assert candidates.build_index(second, other)
        found = first.execute("select indexname from pg_indexes where schemaname = 'builds'").fetchall()
    assert {name for (name,) in found} == {one.index, other.index}


def test_no_index_is_left_when_rows_share_a_key(session: Connection[Any], candidate: Candidate) -> None:
    fill(session, candidate, (1, "a", 1), (1, "b", 2))
    assert not candidates.build_index(session, candidate)
    assert session.execute("select count(*) from pg_indexes where schemaname = 'builds'").fetchone() == (0,)


def test_an_index_name_taken_meanwhile_is_not_reported_as_a_shared_key(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    made = Candidate(lab.pipeline().table("raw.things"), DAY, 7)
    with lab.session() as first, lab.session() as second, ThreadPoolExecutor(1) as pool:
        candidates.create_empty(first, made)
        with first.transaction():
            first.execute(f"create table builds.{made.index} (a integer)".encode())
            built = pool.submit(candidates.build_index, second, made)
            eventually(lambda: first.execute(WAITING, [second.info.backend_pid]).fetchone() == (1,))
        with pytest.raises(psycopg.errors.UniqueViolation, match="pg_class_relname_nsp_index"):
            built.result()


def test_only_builds_of_the_same_table_and_load_date_may_be_dropped(
    session: Connection[Any], candidate: Candidate
) -> None:
    others = [Candidate(candidate.table, DAY, 70), Candidate(candidate.table, NEXT, 71)]
    for other in others:
        candidates.create_empty(session, other)
    session.execute(b"create table builds.raw__things2__20250301__8 (a integer)")
    # A build of a table named raw.things__20250301__5.
    session.execute(b"create table builds.raw__things__20250301__5__20250301__8 (a integer)")
    found = set(candidates.find_leftovers(session, candidate.table, DAY))
    assert found == {candidate.relation, others[0].relation}
    for relation in found:
        candidates.drop(session, relation)
        candidates.drop(session, relation)
    assert list(candidates.find_leftovers(session, candidate.table, DAY)) == []
    assert candidates.builds_of(session, candidate.table.relation) == [others[1].relation]
    assert candidates.size_of(session, others[1]) > 0
