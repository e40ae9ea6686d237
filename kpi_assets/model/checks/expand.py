"""Makes the checks and the rules of a table from its header.

Belongs here: which checks and rules a table has, and their order. Not here: the checks themselves (the other modules).
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from kpi_assets.model.checks.bad_rows import BadRows
from kpi_assets.model.checks.base import TableCheck
from kpi_assets.model.checks.changed_keys import max_changed_check
from kpi_assets.model.checks.custom import custom_check
from kpi_assets.model.checks.fields import DueField, FieldsKnown, FieldsThere
from kpi_assets.model.checks.final import final_check
from kpi_assets.model.checks.keys import grain_check
from kpi_assets.model.checks.options import WordOptions
from kpi_assets.model.checks.quality import quality_checks
from kpi_assets.model.checks.reconcile import Reconcile
from kpi_assets.model.checks.row_counts import MinRowsSpec
from kpi_assets.model.checks.set_aside import RowsSetAside
from kpi_assets.model.checks.source_object import ALWAYS, Chain, NotSeenBefore, Quarantine, RowAccounting
from kpi_assets.model.checks.word import CheckWord, TableDeclaration
from kpi_assets.model.checks.words import WORDS
from kpi_assets.model.format_kinds import FORMAT_KINDS
from kpi_assets.model.header import Header
from kpi_assets.model.names import Relation
from kpi_assets.model.quarantine import QuarantineSpec
from kpi_assets.model.query import parse_query
from kpi_assets.model.rules import RULE_WORDS, CustomRule
from kpi_assets.model.source import Source
from kpi_assets.model.strict_yaml import Lines, ModelError, Problems
from kpi_assets.model.table_ref import THIS


def expand(
    header: Header,
    path: Path,
    lines: Lines,
    minimum: int | None = None,
    default: MinRowsSpec | None = None,
    *,
    histories: Collection[Relation] = (),
) -> tuple[TableCheck, ...]:
    """Return the checks of a table, in the order in which people read them. Raises ModelError.

    `lines` has the lines of the header's words. `minimum` is the minimum of rows from the environment, which replaces
    the header's; `default` is the one from pipeline.yaml, for a header without the word. `histories` are the tables of
    the pipeline that are read without a condition on the load_date.
    """
    if not header.storage_kind.has_checks:
        return ()  # its rows belong to another table and were checked there
    table = replace(
        _declaration(header, path, lines, histories),
        must_have_rows=bool(header.is_raw or header.kpi) and not header.grows,
        minimum_rows=minimum,
        defaults={"min_rows": default} if default and not header.grows else {},  # a batch may have any number of rows
    )
    checks: list[TableCheck] = [
        *_of_source(header, lines),
        *_of_rules(header, lines),
        grain_check(table),
        *_of_history(header, lines),
        *final_check(header, lines),
    ]
    problems = Problems()
    for made in _of_words(header, table, problems):
        with problems.collected():
            checks.append(made())
    score = quality_checks(header.quality, lines)
    names = {check.name for check in score}
    for check in checks:
        if check.name in names:
            problems.add(path, check.line, f"two checks are called {check.name!r}: rename this one")
        names.add(check.name)
    for name in header.quarantine.rules.custom if header.quarantine and header.quarantine.rules else ():
        if name in names:
            line = lines.of("quarantine", "rules", "custom", name)
            problems.add(path, line, f"a rule and a check are called {name!r}: rename one of them")
    if header.quarantine and header.quarantine.rules:
        for check in checks:
            if isinstance(check, Reconcile) and check.comparison:
                problems.add(
                    path,
                    check.comparison.line,
                    f"{check.name}: on compares every row, and a row that quarantine sets aside may be corrected: take "
                    "on out, or clean the rows in a table of its own, without rules that set rows aside",
                )
    problems.raise_any()
    return (*checks, *score)  # the score is computed from the results of all others


def expand_rules(
    header: Header, path: Path, lines: Lines, *, histories: Collection[Relation] = ()
) -> tuple[BadRows, ...]:
    """Return the rules that set aside rows of a table, in the order of their words. Raises ModelError.

    A rule of a word is called `word(column)`, so that no check has its name.
    """
    rules = header.quarantine and header.quarantine.rules
    if not rules:
        return ()
    table = replace(_declaration(header, path, lines, histories), place=("quarantine", "rules"))
    found, problems = [], Problems()
    for word in RULE_WORDS.values():
        value = getattr(rules, word.name)
        for part in value:  # a list of columns, or a mapping by column or name
            for made in word.expand([part] if isinstance(value, list) else {part: value[part]}, table):
                with problems.collected():
                    rule = made()
                    assert isinstance(rule, BadRows)
                    found.append(replace(rule, name=f"{word.name}({part})"))
    for name, spec in rules.custom.items():
        with problems.collected():
            found.append(_custom_rule(name, spec, table))
    problems.raise_any()
    return tuple(found)


def _custom_rule(name: str, spec: CustomRule, table: TableDeclaration) -> BadRows:
    """Return the rule with this name. Raises ModelError if its query does not return the grain."""
    line = table.lines.of_text(*table.place, "custom", name, "bad_rows")
    query = parse_query(spec.bad_rows, table.path, line, lookback=table.has_lookback, histories=table.histories)
    lacking = [column for column in table.grain if column not in query.columns]
    if lacking and "*" not in query.columns:
        raise ModelError(
            table.path,
            line,
            f"a rule returns the rows that it sets aside, and this one lacks {', '.join(lacking)} of their key: write "
            f"`select * from {THIS} where …`, or return the columns of the grain",
        )
    description = spec.description or name.replace("_", " ").capitalize() + "."
    return BadRows(name, description, line=table.line_of("custom", name), query=query)


def _declaration(header: Header, path: Path, lines: Lines, histories: Collection[Relation]) -> TableDeclaration:
    types = {name: column.type for name, column in header.columns.items()}
    has_lookback = header.lookback is not None
    return TableDeclaration(
        path,
        lines,
        types,
        tuple(header.grain),
        has_lookback=has_lookback,
        grows=header.grows,
        has_repeats=header.repeats is not None,
        histories=histories,
    )


def _of_rules(header: Header, lines: Lines) -> Iterator[TableCheck]:
    """Yield the check of the rows that rules set aside."""
    budget = header.quarantine
    if budget and budget.rules:
        description = f"At most {budget.text} of the rows are set aside by rules."
        line = lines.of("quarantine")
        yield RowsSetAside("quarantine", description, line=line, dimension="validity", budget=budget)


def _of_history(header: Header, lines: Lines) -> Iterator[TableCheck]:
    """Yield the check of how much a load_date may change."""
    if header.history and header.history.max_changed < 1:
        yield max_changed_check(header.history, header.grain, lines.of("history", "max_changed"))


def _of_source(header: Header, lines: Lines) -> Iterator[TableCheck]:
    """Yield the checks of a raw table's object."""
    source = header.source
    if source is None or not (header.has_object or source.stream):
        return
    yield RowAccounting("rows_accounted", "Records in the object = rows loaded + rows in quarantine.")
    budget = header.quarantine or QuarantineSpec(rows=0)
    few = f" of a batch and of the load_date so far, or {ALWAYS}," if source.stream and header.quarantine else ""
    yield Quarantine(
        "quarantine",
        f"At most {budget.text}{few} of the records cannot be read as their columns' types.",
        line=lines.of("quarantine") if header.quarantine else 1,
        dimension="validity",
        budget=budget,
        always=ALWAYS if few else 0,
    )
    if source.stream:
        yield Chain("chain", "Each object continues the one before it in its partition, and is whole.")
        return
    if FORMAT_KINDS[source.format].has_field_counts:
        yield from _of_fields(header, source, lines)
    # Part of the build, not of the verification: only reading all bytes proves that they are the same.
    if source.same_bytes != "ignore":
        yield NotSeenBefore(
            "not_seen_before",
            "The object's bytes were not delivered before as another object.",
            blocking=source.same_bytes == "hold",
            line=lines.of("source", "same_bytes"),
        )


def _of_fields(header: Header, source: Source, lines: Lines) -> Iterator[TableCheck]:
    """Yield the checks of the fields of an object whose records may differ in them."""
    fields = tuple(
        DueField(name, column.field or name, column.since, column.optional) for name, column in header.delivered.items()
    )
    yield FieldsThere("fields_there", "Each column is a field of at least one record.", fields=fields)
    if source.unknown_fields in ("hold", "warn"):
        yield FieldsKnown(
            "fields_known",
            "Each field of a record is a column.",
            blocking=source.unknown_fields == "hold",
            line=lines.of("source", "extra"),
            fields=fields,
        )


def _of_words(header: Header, table: TableDeclaration, problems: Problems) -> Iterator[Callable[[], TableCheck]]:
    """Yield a function for each check below `checks` that makes the check; each may raise ModelError."""
    for word in WORDS.values():
        made = [*word.expand(getattr(header.checks, word.name), table)]
        if word.name in header.checks.options and not made:
            problem = (
                "it demands nothing, so nothing has its severity or dimension: say what it demands, or take it out"
            )
            problems.add(table.path, table.line_of(word.name), f"checks.{word.name}: {problem}")
        yield from (partial(_with_options, make, word, header.checks.options_of(word.name)) for make in made)
    for name, custom in header.checks.custom.items():
        yield partial(custom_check, name, custom, table)


def _with_options(make: Callable[[], TableCheck], word: CheckWord, options: WordOptions) -> TableCheck:
    """Make a check of a word, with the options that the header gives it. Raises ModelError."""
    check = make()
    blocking = check.blocking if options.severity is None else options.severity == "error"
    return replace(
        check,
        blocking=blocking,
        dimension=options.dimension or word.dimension,
        alert=options.alert,
        waivable=options.waivable,
    )
