"""Each rewrite matters: a probe passes by every function that makes SQL, and without a rewrite Spark gives otherwise.

`OTHERWISE` has a probe for each rewrite with what Spark answers to the SQL that sqlglot alone makes of it. A line that
is no longer true, because Spark or sqlglot has changed, says that a rewrite may go.
Not here: what the rewritten SQL gives (test_probes.py).
"""

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, ModuleType

import pytest
from sqlglot import exp, parse_one

from kpi_assets.model.portable import aggregates, dates, expressions, numbers, statement, texts, types, values
from kpi_assets.model.table_ref import as_parsed
from kpi_assets_tests.model.portable.probes import TABLES, TYPES, Answer, Probe, probes, written
from kpi_assets_tests.model.portable.spark import OnSpark
from kpi_assets_tests.model.portable.spark_engine import view

MODULES: tuple[ModuleType, ...] = (aggregates, dates, expressions, numbers, statement, texts, types, values)
ALL = {probe.sql: probe for probe in probes()}
# What only refuses or describes, and parameters, which no probe has: the windows of the fixtures pass these.
NOT_OF_PROBES = {"_refused_alone", "refused", "source", "__str__", "parameter", "_among_parameter"}
# The probe of a rewrite, the function that makes it, and Spark's answer without it: its type and its first values.
OTHERWISE = {
    "7 / -2": ("_division", "double: -3.5"),
    "round(d / 3, 7)": ("divided", "decimal(15,6): 0.833333"),
    "d + 1": ("_of_numerics", "decimal(11,2): 3.5"),
    "trunc(d)": ("_truncated", "bigint: 2"),
    "round(d, 3)": ("_round", "decimal(11,2): 2.5"),
    "nullif(n, 2.0)": ("_nullif", "int: NULL"),
    "2.5::smallint": ("rounded", "smallint: 2"),
    "(-0.5)::integer": ("rounded", "int: 0"),
    "t collate \"C\" < 'b'": ("_comparison", "fails"),
    'max(t collate "C")': ("_extreme", "fails"),
    'rank() over (order by t collate "C")': ("ordered", "fails"),
    "day - day": ("shifted", "interval day: 0:00:00"),
    "extract(year from day)": ("_extract", "int: 2024"),
    "extract(dow from day)": ("_day_of_week", "int: 5"),
    "extract(isodow from day)": ("_day_of_week", "fails"),
    "round(avg(n) over (partition by f), 2)": ("_average", "double: 1.67"),
    "select v.x from (values ('2024-01-01'::date), ('2024-01-02')) as v(x)": ("together", "fails"),
}


def without_rewrites(probe: Probe) -> str:
    """Return the SQL that sqlglot alone makes of a probe."""
    tree = parse_one(as_parsed(probe.select), read="postgres")
    for table in tree.find_all(exp.Table):
        if table.db == "probes":
            table.set("db", None)
    return tree.sql(dialect="spark").replace("%%", "%")


@contextmanager
def called(found: set[CodeType]) -> Iterator[None]:
    """Add the code of each function that is called within the block."""
    before = sys.getprofile()

    def note(frame: FrameType, event: str, _given: object) -> None:
        if event == "call":
            found.add(frame.f_code)

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)


def functions(module: ModuleType) -> Iterator[tuple[str, CodeType]]:
    """Yield the functions and methods that a module defines, and not those that a protocol describes."""
    classes = [each for _, each in inspect.getmembers(module, inspect.isclass) if not getattr(each, "_is_protocol", 0)]
    for owner in (module, *classes):
        for name, each in vars(owner).items():
            function = each.fget if isinstance(each, property) else each
            if inspect.isfunction(function) and function.__code__.co_filename == module.__file__:
                yield name, function.__code__


def test_every_function_that_makes_sql_is_passed_by_a_probe() -> None:
    found = set[CodeType]()
    with called(found):
        for probe in ALL.values():
            if not probe.is_refused:
                probe.translated("spark")
                probe.translated("duckdb")
    missing = [
        f"{module.__name__}.{name}"
        for module in MODULES
        for name, code in functions(module)
        if code not in found and name not in NOT_OF_PROBES
    ]
    assert missing == []


@pytest.mark.parametrize("sql", OTHERWISE)
def test_a_rewrite_makes_other_sql(sql: str) -> None:
    rule, _ = OTHERWISE[sql]
    passed = set[CodeType]()
    with called(passed):
        made = ALL[sql].translated("spark").sql
    assert rule in {code.co_name for code in passed}
    assert made.casefold() != without_rewrites(ALL[sql]).casefold()


@pytest.mark.nightly
def test_without_its_rewrite_spark_answers_otherwise(spark: OnSpark) -> None:
    for name, rows in TABLES.items():
        spark.run(view(name, TYPES, rows))
    found = {sql: shown(spark.run(without_rewrites(ALL[sql]))) for sql in OTHERWISE}
    assert found == {sql: answer for sql, (_, answer) in OTHERWISE.items()}


def shown(answer: Answer) -> str:
    """Return an answer as `OTHERWISE` has it."""
    return "fails" if answer.type == "fails" else f"{answer.type}: {written(answer.values[0])}"
