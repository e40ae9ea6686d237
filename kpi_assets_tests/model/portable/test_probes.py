"""One-line SELECTs give equal rows of equal types on Postgres, DuckDB and Spark, or are refused."""

from collections import Counter
from pathlib import Path

import psycopg
import pytest

from kpi_assets.docs.markdown import word
from kpi_assets.docs.portable_sql import page
from kpi_assets.embedded.stack import Stack
from kpi_assets.model.column_types import catalog_name
from kpi_assets.model.portable.refusals import REFUSALS, NotPortableError
from kpi_assets.model.portable.types import ENGINES, Type
from kpi_assets.settings import settings
from kpi_assets_tests.model.portable.duckdb_engine import OnDuckDB
from kpi_assets_tests.model.portable.probes import TABLES, TYPES, OnPostgres, Probe, Runs, outcome_of, probes
from kpi_assets_tests.model.portable.spark import OnSpark
from kpi_assets_tests.model.portable.spark_engine import view

ALL = probes()


def differences(runs: Runs, engine: str) -> list[tuple[str, str, str]]:
    """Return each probe that an engine answers otherwise than Postgres: its SQL, what should come, and what came."""
    found = []
    for probe in ALL:
        if probe.is_refused:
            continue
        made = probe.translated("spark" if engine == "spark" else "duckdb")
        type_ = list(made.columns.values())[-1]
        answer = runs.run(made.sql)
        came = probe.answered(answer, str(type_))
        if came != probe.outcome:
            found.append((probe.sql, probe.outcome, came))
        elif answer.type not in ("fails", wanted := called(type_, engine)):
            found.append((probe.sql, wanted, answer.type))
    return found


def called(type_: Type, engine: str) -> str:
    """Return what an engine calls a type when it describes a result."""
    name = type_.on("spark" if engine == "spark" else "duckdb").sql(engine).lower().replace(" ", "")
    return name if engine == "spark" else {"int": "integer", "text": "varchar"}.get(name, name)


def test_there_are_many_probes_and_each_has_an_outcome() -> None:
    assert len(ALL) > 700
    assert [probe.sql for probe in ALL if not probe.outcome] == []
    assert [sql for sql, count in Counter(probe.sql for probe in ALL).items() if count > 1] == []
    refused = {probe.outcome.removeprefix("refused ") for probe in ALL if probe.is_refused}
    assert refused == {*REFUSALS}, "each reason has a probe"


def test_postgres_answers_as_the_probes_say(stack: Stack) -> None:
    server = settings().postgres_url
    assert server is not None
    with psycopg.connect(server.get_secret_value()) as connection:
        postgres = OnPostgres(connection)
        wrong = [(each.sql, each.outcome, got) for each in ALL if (got := outcome_of(each, postgres)) != each.outcome]
        types = [each.sql for each in ALL if not has_type(postgres, each)]
        connection.rollback()
    assert wrong == []
    assert types == [], "Postgres gives these another type"


def has_type(postgres: Runs, probe: Probe) -> bool:
    """Whether Postgres gives the type of the outcome; a numeric of Postgres has no digits there."""
    answer = postgres.run(probe.select) if not probe.is_refused else None
    expected = probe.outcome.split(": ")[0].rstrip(":").split("(")[0]
    return answer is None or answer.type == "fails" or catalog_name(answer.type) == expected


def test_duckdb_answers_as_postgres_does() -> None:
    assert differences(OnDuckDB(), "duckdb") == []


@pytest.mark.nightly
def test_spark_answers_as_postgres_does(spark: OnSpark) -> None:
    for name, rows in TABLES.items():
        spark.run(view(name, TYPES, rows))
    assert differences(spark, "spark") == []


def test_both_engines_refuse_the_same() -> None:
    for probe in ALL:
        found = []
        for engine in ENGINES:
            try:
                probe.translated(engine)
                found.append("")
            except NotPortableError as refused:
                found.append(f"refused {refused.key}")
        assert found == [probe.outcome if probe.is_refused else ""] * 2, probe.sql


@pytest.mark.parametrize("key", REFUSALS)
def test_each_example_of_a_refusal_is_refused_for_it_and_has_a_portable_way(key: str) -> None:
    refusal = REFUSALS[key]
    with pytest.raises(NotPortableError) as refused:
        Probe(refusal.example).translated("spark")
    assert refused.value.key == key
    assert str(refused.value).endswith(refusal.sentence)
    known = {probe.sql: probe.outcome for probe in ALL}
    assert refusal.example in known, "it is a probe too"
    if refusal.instead:
        assert not known[refusal.instead].startswith(("refused", "fails")), "the portable way is a probe that is equal"


def test_the_page_names_each_refusal(tmp_path: Path) -> None:
    text = page()
    for refusal in REFUSALS.values():
        assert word(refusal.example).replace("|", "\\|") in text
        assert word(refusal.instead).replace("|", "\\|") in text or not refusal.instead
