"""The docstrings of five modules of rules have an example for each rule, and the examples are true."""

import doctest
from collections.abc import Collection, Mapping
from types import MappingProxyType, ModuleType
from typing import Any

import pytest
from sqlglot import parse_one
from sqlglot.optimizer.scope import Scope, build_scope

from kpi_assets.model import growing, joins, partition_filter, passed_on, pushdown
from kpi_assets.model.names import Relation
from kpi_assets.model.partition_filter import (
    Edge,
    batchless_tables,
    equality_edges,
    previous_tables,
    ties,
    unbound_tables,
    window_tables,
)


def scope_of(sql: str) -> Scope:
    scope = build_scope(parse_one(sql.replace("D", "%(load_date)s").replace("B", "%(batch)s"), read="postgres"))
    assert scope is not None
    return scope


def edges(sql: str) -> list[str]:
    return sorted(map(written, equality_edges(scope_of(sql))))


def written(edge: Edge) -> str:
    return " -> ".join(map(named, edge))


def named(node: partition_filter.Node) -> str:
    if isinstance(node, partition_filter.DaysBefore):
        return f"{node.days} days before"
    return node.name if isinstance(node, partition_filter.Source) else node.value


def tied(sql: str, *, columns: Mapping[tuple[str, str], str] = MappingProxyType({})) -> list[str]:
    found = ties(scope_of(sql), {Relation(*relation): name for relation, name in columns.items()})
    return sorted(f"{table.alias_or_name}: {', '.join(sorted(map(named, nodes)))}" for table, nodes in found.items())


def unbound(sql: str, *, histories: Collection[tuple[str, str]] = (), carries_on: bool = False) -> list[str]:
    found = unbound_tables(scope_of(sql), [Relation(*each) for each in histories], carries_on=carries_on)
    return sorted(f"{table.db}.{table.name}" for table in found)


def windows(sql: str) -> list[str]:
    return sorted(f"{table.db}.{table.name}" for table in window_tables(scope_of(sql)))


def previous(sql: str) -> list[str]:
    return sorted(f"{table.db}.{table.name}" for table in previous_tables(scope_of(sql)))


def batchless(sql: str) -> list[str]:
    return sorted(f"{table.db}.{table.name}" for table in batchless_tables(scope_of(sql)))


def across(sql: str) -> list[str]:
    return [why.partition(" sees ")[0] for _, why in growing.across_rows(parse_one(sql, read="postgres"))]


def targets(sql: str) -> list[str]:
    found = pushdown.pushdown_targets(scope_of(sql).expression, "k")
    return sorted(f"{target.table.relation}.{target.column}" for target in found)


def passed(sql: str) -> list[str]:
    tables = {Relation("raw", "t"): ["k", "a", "b"], Relation("raw", "u"): ["k", "a", "b"]}
    found = passed_on.passed_on(scope_of(sql).expression, tables)
    assert found is not None
    return sorted(
        " ".join([str(each.relation), *sorted(f"{column}={there}" for column, there in each.columns)])
        + "".join(f" joined {there}={column} of {found.readings[n].relation}" for n, column, there in each.links)
        + (f" where {' and '.join(each.conditions)}" if each.conditions else "")
        for each in found.readings
    )


GLOBS: dict[str, Any] = {
    "edges": edges,
    "unbound": unbound,
    "windows": windows,
    "previous": previous,
    "batchless": batchless,
    "across": across,
    "targets": targets,
    "passed": passed,
    "tied": tied,
}


@pytest.mark.parametrize(
    ("module", "examples"), [(partition_filter, 46), (pushdown, 12), (joins, 3), (passed_on, 9), (growing, 10)]
)
def test_every_example_of_the_docstrings_is_true(module: ModuleType, examples: int) -> None:
    failed, tried = doctest.testmod(module, extraglobs=GLOBS)
    assert (failed, tried >= examples) == (0, True)
