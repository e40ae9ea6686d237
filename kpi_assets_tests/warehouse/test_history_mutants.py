"""Each rule of a fold is needed: without it a fixed sequence of load_dates no longer gives the versions that it must.

A case replaces one piece of the text of a module and runs the sequence in this process.
"""

import importlib
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from types import ModuleType

import psycopg
import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.ledger import publishes
from kpi_assets.materialize import compare
from kpi_assets.warehouse import kinds, versions
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets.warehouse.ddl import DefinitionError
from kpi_assets.warehouse.kinds import strategy_of
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.warehouse.history_harness import day
from kpi_assets_tests.warehouse.history_things import (
    AMOUNTS,
    DAYS,
    KEYS,
    MARKS,
    MORE,
    NAMES,
    Row,
    Shape,
    Things,
    key_of,
    share_read,
)

# What a sequence finds: other versions, a violated constraint, or rows that are not read back.
NOTICED = (AssertionError, psycopg.Error, WarehouseError, DefinitionError, pytest.fail.Exception)


@pytest.fixture(scope="module")
def lab(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("mutants")) as opened:
        opened.prepared()
        yield opened


@pytest.fixture(scope="module")
def things(lab: PipelineHarness) -> Iterator[Things]:
    with Things.open(lab, "things") as opened:
        yield opened


def rows_of(rng: random.Random, shape: Shape) -> list[Row]:
    """Return random rows of a load_date."""
    found = {}
    for code, number in rng.sample(KEYS, rng.randrange(len(KEYS) + 1)):
        row: Row = {
            "code": code,
            "amount": rng.choice(AMOUNTS[shape.type]),
            "number": number,
            "name": rng.choice(NAMES),
            "more": rng.choice(MORE[:2]),
            "marks": rng.choice(MARKS[:2]),
        }
        found[key_of(row)] = {**row, "extra": rng.choice(NAMES)} if shape.has_extra else row
    return [*found.values()]


def row(amount: str | None, name: str | None = "p", more: str = '{"a": 1}', number: str = "1") -> Row:
    return {"code": "x", "amount": amount, "number": number, "name": name, "more": more, "marks": "{a}"}


def play_fixed(things: Things) -> None:
    """Changes of a single bit, change and back, deletion and return, load_dates between others and removed ones."""
    things.clear()
    steps: list[tuple[date, list[Row]]] = [
        (DAYS[0], [row("1")]),
        (DAYS[4], [row("1")]),
        (DAYS[2], [row("1.0")]),
        (DAYS[3], []),
        (DAYS[2], [row("1")]),
        (DAYS[3], [row("1")]),
        (DAYS[3], []),
        (DAYS[1], [row("1", number="1.0")]),
        (DAYS[1], [row("1", more='{"a": 1.0}')]),
        (DAYS[5], [row("1", None)]),
        (DAYS[5], [row("1", "")]),
    ]
    for load_date, rows in steps:
        things.deliver(load_date, rows)
        things.check()
    assert things.compared >= 3
    for load_date in (DAYS[5], DAYS[0], DAYS[2], DAYS[1], DAYS[3]):
        things.remove(load_date)
        things.check()
    # The history has no versions, though a later load_date is published.
    things.deliver(DAYS[4], [])
    things.deliver(DAYS[1], [row("1"), row("2", number="2")])
    things.check()


def play_meanwhile(things: Things) -> None:
    """Another session publishes or removes a load_date after the rows were compared with the versions."""
    for change in (
        lambda other: other.deliver(DAYS[2], [row("4")]),
        lambda other: other.deliver(DAYS[1], [row("4")]),
        lambda other: other.deliver(DAYS[0], [row("4")]),
        lambda other: other.remove(DAYS[2]),
        lambda other: other.remove(DAYS[0]),
    ):
        for amount in ("2", "4"):
            things.clear()
            things.compared = 0
            for load_date, before in ((DAYS[0], "1"), (DAYS[2], "2"), (DAYS[4], "3")):
                things.deliver(load_date, [row(before), row("1", number="2")])
            things.deliver(DAYS[3], [row(amount), row("1", number="2")], lambda change=change: change(things.beside))
            assert things.compared == 3
            things.check()


def play_another_candidate(things: Things) -> None:
    """The rows of one candidate were compared, and those of another one are published."""
    things.clear()
    things.deliver(DAYS[0], [row("1")])
    connection, strategy = things.connection, strategy_of(things.table)
    compared = strategy.compare(connection, things.candidate(DAYS[1], [row("2")]))
    with connection.transaction(force_rollback=True):
        strategy.publish(connection, things.candidate(DAYS[1], [row("3")]), compared)
        things.record(DAYS[1], 1)
        assert [each[2] for each in things.versions()] == ["1", "3"]


def play_random(things: Things) -> None:
    """Random load_dates in random order, with columns and types that come and go."""
    rng = random.Random(3)
    things.clear()
    for _ in range(40):
        if rng.random() < 0.3:
            things.shape = rng.choice([*things.tables])
        if things.said and rng.random() < 0.2:
            things.remove(rng.choice(sorted(things.said)))
        else:
            things.deliver(rng.choice(DAYS), rows_of(rng, things.shape))
        things.check()


def play_types(things: Things) -> None:
    """A type gets narrower, and then a column is dropped, so that neighbors become equal."""
    things.clear(Shape("smallint"))
    things.deliver(DAYS[0], [row("1")])
    things.shape = Shape("numeric")
    things.deliver(DAYS[2], [row("2.5")])
    things.shape = Shape("numeric(8,2)")
    things.deliver(DAYS[1], [row("1.00")])
    things.check()
    things.deliver(DAYS[2], [row("1.00")])
    assert things.stored["amount"] == "numeric(8,2)"
    assert len(things.versions()) == 1
    things.shape = Shape("numeric(8,2)", has_extra=True)
    things.deliver(DAYS[1], [{**row("1.00"), "extra": "p"}])
    assert len(things.versions()) == 3
    things.shape = Shape("numeric(8,2)")
    things.deliver(DAYS[1], [row("1.00")])
    assert len(things.versions()) == 1
    things.check()


CHANGES = ("new.name := 'other'", "new.end_date := new.effective_date", "new.code := 'other'")
OF_FIRST = (
    "new.effective_date := new.effective_date - 1",
    "if pg_trigger_depth() = 1 then insert into marts.things (thing_sk, code, number, effective_date) "
    "values (1, 'more', 1, new.effective_date); end if",
)


def play_trigger(things: Things) -> None:
    """A trigger changes what is put in, which the fold must notice."""
    things.clear()
    things.deliver(DAYS[0], [row("1")])
    _play_trigger(things, CHANGES)
    things.remove(DAYS[0])
    _play_trigger(things, (*CHANGES, *OF_FIRST))


def _play_trigger(things: Things, changes: Sequence[str]) -> None:
    with things.connection.transaction(force_rollback=True):
        for change in changes:
            things.connection.execute(
                "create or replace function marts.changed() returns trigger language plpgsql as "
                f"$$ begin {change}; return new; end $$"
            )
            things.connection.execute(
                "create or replace trigger changed before insert on marts.things "
                "for each row execute function marts.changed()"
            )
            with pytest.raises(WarehouseError), things.connection.transaction():
                things.publish(DAYS[4], [row("2")])


def play_all(things: Things) -> None:
    for play in (play_fixed, play_types, play_random, play_meanwhile, play_another_candidate, play_trigger):
        play(things)


def mutated(module: ModuleType, old: str, new: str) -> ModuleType:
    """Return the module with one piece of its text replaced; it is not imported."""
    assert module.__file__ is not None
    source = Path(module.__file__).read_text()
    assert source.count(old) == 1 or not old, f"{old!r} is not once in {module.__name__}: correct the case"
    found = ModuleType(module.__name__)
    exec(compile(source.replace(old, new) if old else source, module.__file__, "exec"), found.__dict__)
    return found


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str], None]:
    """Return a function that puts a mutant in the place of a module for the test."""
    history = importlib.import_module("kpi_assets.warehouse.kinds.history")

    def put_mutant(name: str, old: str, new: str) -> None:
        if name == "versions":
            module = mutated(versions, old, new)
            module.__dict__["VersionChanges"] = versions.VersionChanges  # what tests compare with
            monkeypatch.setattr(history, "Versions", module.__dict__["Versions"])
            monkeypatch.setattr(history, "rows_on", module.__dict__["rows_on"])
        elif name == "compare":
            monkeypatch.setattr(compare, "compare", mutated(compare, old, new).__dict__["compare"])
        elif name == "publishes":
            monkeypatch.setattr(publishes, "state_of", mutated(publishes, old, new).__dict__["state_of"])
        else:
            monkeypatch.setitem(kinds.STRATEGIES, "history", mutated(history, old, new).__dict__["History"]())

    return put_mutant


# what is left out -> (module, text, the text in its place)
MUTANTS = {
    "the next load_date is ignored": (
        "versions",
        "following = _next_published(connection, self.relation, load_date)",
        "following = None",
    ),
    "the day before is not looked at": ("versions", "where {until_day_before}", "where false"),
    "the next load_date has no piece": ("versions", "where {until_following}", "where false"),
    "the next load_date is the next but the same": ("versions", "p.load_date > %s", "p.load_date >= %s"),
    "neighbors are not merged": ("versions", 'where not "goes on"', "where true"),
    "neighbors are merged across a gap": ("versions", "lag({end}) over k = {effective} - 1 and ", ""),
    "rows that differ in scale are the same": (
        "versions",
        "h.{effective} is null or {differs}",
        "h.{effective} is null or row({c_columns}) is distinct from row({h_columns})",
    ),
    "neighbors that differ in scale are merged": (
        "versions",
        "row({columns_before})::record *= row({columns})::record",
        "row({columns_before}) is not distinct from row({columns})",
    ),
    "NULL is like every value": (
        "versions",
        "h.{effective} is null or {differs}",
        "h.{effective} is null or row({c_columns}) <> row({h_columns})",
    ),
    "keys that are not delivered go on": ("versions", "full join (select", "left join (select"),
    "new keys are overlooked": ("versions", "full join (select", "right join (select"),
    "the version before ends on the load_date": ("versions", "{day} - 1 as {end}", "{day} as {end}"),
    "the version before ends a day too early": ("versions", "{day} - 1 as {end}", "{day} - 2 as {end}"),
    "the version ends on the next load_date": ("versions", "{following} - 1 from touched", "{following} from touched"),
    "the version begins the day after": (
        "versions",
        "{columns}, {day}, {following}",
        "{columns}, {day} + 1, {following}",
    ),
    "a version does not hold on its last day": ("versions", '"({} or {} >= {})"', '"({} or {} > {})"'),
    "a version does not hold on its first day": ("versions", "h.{} <= {} and {}", "h.{} < {} and {}"),
    "a version is not found on its first day": (
        "versions",
        "h.{effective} <= {day} order",
        "h.{effective} < {day} order",
    ),
    "the first version of a key is found": ("versions", "h.{effective} desc limit 1", "h.{effective} limit 1"),
    "only current versions are compared": (
        "versions",
        "_until(None) if following is None else holds_on(day)",
        "_until(None)",
    ),
    "touched versions stay": ("versions", "select {number} from touched union select", "select"),
    "versions of the pieces stay": ("versions", "from touched union select {number} from pieces", "from touched"),
    "the key is a number of arrival": (
        "versions",
        "\n    {number_of}, {columns}",
        "\n    (random() * 1e15)::bigint, {columns}",
    ),
    "the key of the first rows is a number of arrival": (
        "versions",
        "select {number_of}, {columns}",
        "select (random() * 1e15)::bigint, {columns}",
    ),
    "the first rows begin the day after": ("versions", "{day} as {effective}", "{day} + 1 as {effective}"),
    "the first rows end on the next load_date": (
        "versions",
        "{following} - 1 as {end} from {rows}",
        "{following} as {end} from {rows}",
    ),
    "what goes before is overwritten": ("versions", "if not self._has_some(connection):", "if True:"),
    "the first rows are read back without their first day": (
        "versions",
        "h.{effective} is distinct from {day} or ",
        "h.{effective} is null or ",
    ),
    "the first rows are read back without their last day": (
        "versions",
        " or h.{end} is distinct from {following} - 1\n    or {differs}",
        "\n    or {differs}",
    ),
    "only the dates of the first rows are read back": (
        "versions",
        "from {following} - 1\n    or {differs}",
        "from {following} - 1",
    ),
    "what is more than the first rows is not read back": ("versions", "full join {versions}", "left join {versions}"),
    "the history has no keys": ("kinds.history", "        add_keys(connection, candidate.table)\n", ""),
    "candidates with fewer columns are compared": (
        "kinds.history",
        "if types != types_of(connection, candidate.relation):",
        "if not types:",
    ),
    "the rows of another candidate are put in": (
        "kinds.history",
        "(compared.candidate, compared.versions) ==",
        "() !=",
    ),
    "what is published meanwhile is not noticed": ("compare", "== self.state", "!= ()"),
    "what is removed meanwhile is not noticed": ("publishes", "count(superseded_at), count(removed_at)", "0, 0"),
    "the key does not know the first day": (
        "versions",
        "json_build_array({key}, {effective})",
        "json_build_array({key})",
    ),
    "the key has other bits": ("versions", "::bit(64) >> 1)", "::bit(64) >> 2)"),
    "the rows are not read back": ("versions", "        if lost:", "        if lost < 0:"),
    "only values are read back": (
        "versions",
        "        or coalesce(h.{end}, 'infinity') < coalesce(c.{end}, 'infinity')\n",
        "",
    ),
    "only dates are read back": (
        "versions",
        "coalesce(c.{end}, 'infinity')\n        or row({c_columns})::record *<> row({h_columns})::record",
        "coalesce(c.{end}, 'infinity')",
    ),
    "a removed load_date is folded in": ("versions", '_day(load_date) + sql.SQL(" - 1"))', "_day(load_date))"),
    "columns of other load_dates are not compared": (
        "kinds.history",
        "{name: type_ for name, type_ in _row_types(connection, table).items() if name != LOAD_DATE}",
        "table.types",
    ),
    "the candidate lacks columns of other load_dates": (
        "kinds.history",
        "match_columns(connection, candidate, _row_types(connection, candidate.table))",
        "pass",
    ),
    "a column is dropped below its values": ("kinds.history", "if needed.retype or needed.drop:", "if needed.retype:"),
    "neighbors that become equal stay": ("kinds.history", "    versions.merge(connection)\n", ""),
}


@pytest.mark.nightly
@pytest.mark.parametrize("module", ["versions", "kinds.history", "compare", "publishes"])
def test_the_sequences_pass_on_the_modules_as_they_are(
    things: Things, put: Callable[[str, str, str], None], module: str
) -> None:
    put(module, "", "")
    play_all(things)


@pytest.mark.nightly
@pytest.mark.parametrize(("module", "old", "new"), MUTANTS.values(), ids=MUTANTS)
def test_a_fold_without_one_of_its_rules_is_noticed(
    things: Things, put: Callable[[str, str, str], None], module: str, old: str, new: str
) -> None:
    put(module, old, new)
    with pytest.raises(NOTICED):
        play_all(things)


# Between others, the comparison alone reads the history once.
READS = pytest.mark.parametrize(
    ("load_date", "following", "most"), [(day(2000), None, 0.3), (day(700), day(701), 1.3)], ids=["latest", "between"]
)


@READS
@pytest.mark.parametrize("is_analyzed", [True, False])
def test_a_fold_finds_the_versions_of_changed_keys_without_reading_the_history(
    things: Things, load_date: date, following: date | None, most: float, is_analyzed: bool
) -> None:
    assert share_read(things, load_date, following, is_analyzed=is_analyzed) < most


@READS
def test_a_fold_that_joins_the_history_is_noticed(
    things: Things, put: Callable[[str, str, str], None], load_date: date, following: date | None, most: float
) -> None:
    by_key, join = "cross join lateral ({on_day_before}) as h where", "inner join {versions} as h on {same_key} and"
    put("versions", f"{by_key} {{until_day_before}}", f"{join} h.{{effective}} < {{day}} where {{until_day_before}}")
    assert share_read(things, load_date, following) > most
