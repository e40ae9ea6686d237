"""Commits that the engine refuses since another build came first: tried again on what that one left, and bounded.

No engine is needed: a session that refuses what it is told to stands for it.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from kpi_assets.lake.session import Engine, EngineError
from kpi_assets.lake.tables import LakeTable, Tables

TABLE = LakeTable("k", "shop_raw", "things", {"thing_id": "integer"})
REFUSED = "(org.apache.iceberg.exceptions.CommitFailedException) Table metadata refresh is required"
UNKNOWN = (
    "(org.apache.iceberg.exceptions.CommitStateUnknownException) Cannot determine whether the commit was successful, "
    f"the underlying error was {REFUSED}"
)
LOST = "StatusCode.UNAVAILABLE: the server went away"
DROP = "alter table `k`.`shop_raw`.`things` drop branch if exists `c7`"
REFRESH = "refresh table `k`.`shop_raw`.`things`"


class Session:
    """A session that fails the first statements which begin with a text, and notes all of them."""

    def __init__(self, begins: str, failures: Sequence[str]) -> None:
        self.begins, self.failures = begins, [*failures]
        self.statements: list[str] = []

    def sql(self, statement: str) -> None:
        """Execute nothing."""
        self.statements.append(statement)
        if statement.startswith(self.begins) and self.failures:
            raise RuntimeError(self.failures.pop(0))

    def interruptAll(self) -> None:  # noqa: N802  the client's name
        """Nothing runs."""


def _tables(begins: str, failures: Sequence[str]) -> tuple[Session, Tables]:
    session = Session(begins, failures)
    return session, Tables(Engine(session, "localhost:15002"), "a ledger")


@pytest.mark.parametrize("refusals", [0, 1, 4])
def test_a_refused_commit_is_tried_again_on_the_table_as_it_is_now(refusals: int) -> None:
    session, tables = _tables("alter", [REFUSED] * refusals)
    tables.drop_branch(TABLE, 7)
    assert session.statements == [*([DROP, REFRESH] * refusals), DROP]


def test_a_commit_that_is_refused_again_and_again_is_an_error_for_a_later_run() -> None:
    session, tables = _tables("alter", [REFUSED] * 9)
    with pytest.raises(
        EngineError, match=r"^The engine at localhost:15002 refused a statement: .*refresh is"
    ) as raised:
        tables.drop_branch(TABLE, 7)
    assert raised.value.transient
    assert session.statements == [*([DROP, REFRESH] * 4), DROP]


@pytest.mark.parametrize(("failure", "is_transient"), [(UNKNOWN, True), (LOST, True), ("no such column", False)])
def test_nothing_else_is_tried_again(failure: str, is_transient: bool) -> None:
    session, tables = _tables("alter", [failure])
    with pytest.raises(EngineError) as raised:
        tables.drop_branch(TABLE, 7)
    assert raised.value.transient == is_transient
    assert session.statements == [DROP]


@pytest.mark.parametrize("failure", ["duplicate key value violates unique constraint", REFUSED])
def test_a_table_that_another_build_makes_meanwhile_is_looked_at_again(
    failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, tables = _tables("create namespace", [failure])
    answers: dict[str, list[list[Any]]] = {
        "show tblproperties": [[], [("kpi_assets.ledger", "a ledger")]],
        "describe table": [[("load_date", "date"), ("thing_id", "int")]],
    }

    def rows(_engine: Engine, statement: str) -> list[Any]:
        [found] = [of for begins, of in answers.items() if statement.startswith(begins)]
        if not found[0]:
            found.pop(0)
            raise EngineError("it is not there", condition="TABLE_OR_VIEW_NOT_FOUND")
        return found[0]

    monkeypatch.setattr(Engine, "rows", rows)
    tables.ensure(TABLE)
    assert session.statements == ["create namespace if not exists `k`.`shop_raw`", REFRESH]
