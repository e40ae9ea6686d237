"""The header of a file: every word it may have, and every error with the line of the mistake."""

from pathlib import Path

import pytest

from kpi_assets.errors import UserError
from kpi_assets.model.header import split
from kpi_assets.model.strict_yaml import ModelError

PATH = Path("sql/shop/raw/things.sql")
TEXT = """\
/* @asset
description: Things as delivered.
owner: team:tests
grain: [thing_id]
source:
  object: raw/things/load_date={load_date}/things.csv
  format: csv
columns:
  thing_id: {type: integer, description: Thing.}
  name:
    type: text
    description: Name.
checks:
  not_null: [name]
@end */
"""


def changed(old: str, new: str) -> str:
    assert TEXT.count(old) == 1, old
    return TEXT.replace(old, new)


def with_checks(text: str) -> str:
    return changed("checks:\n", f"checks:\n{text}")  # from line 14 on


def with_kpi(text: str) -> str:
    return changed("checks:\n", f"kpi:\n{text}checks:\n")  # from line 14 on


def with_volume(text: str = "{column: thing_id, at_least: 2}") -> str:
    """Return the header of a KPI with min_volume on line 7."""
    source = TEXT[TEXT.index("source:") : TEXT.index("columns:")]
    return changed(source, f"kpi:\n  chart: {{x: name, y: thing_id}}\nmin_volume: {text}\n")


def test_a_header_is_read_into_typed_values() -> None:
    header, lines, body = split(PATH, TEXT + "-- a comment\nselect 1\n")
    assert (header.description, header.owner, header.grain) == ("Things as delivered.", "team:tests", ["thing_id"])
    assert {name: column.type for name, column in header.columns.items()} == {"thing_id": "integer", "name": "text"}
    assert header.source is not None
    assert (header.source.format, header.quarantine, header.storage, header.kpi) == ("csv", None, "rows", None)
    assert header.checks.min_rows is None
    assert body == "\n" * 15 + "-- a comment\nselect 1\n", "a line of the body is a line of the file"
    assert lines.of("columns", "name", "type") == 11


def test_words_that_yaml_1_1_would_convert_are_text() -> None:
    header, _, _ = split(PATH, with_checks("  accepted_values: {name: [no, on, 2025-01-01, 22:30, '1']}\n"))
    assert header.checks.accepted_values["name"] == ["no", "on", "2025-01-01", "22:30", "1"]


@pytest.mark.parametrize(
    ("type_", "value", "sentence"),
    [
        ("text", "010", "10 is a number in YAML, and the column is text: put it in quotes, as it is delivered"),
        ("text", "1.5", "1.5 is a number in YAML, and the column is text: put it in quotes, as it is delivered"),
        ("text", "true", "True is true or false in YAML, and the column is text: put it in quotes, as it is delivered"),
        ("date", "20250101", "20250101 is a number in YAML, and the column is date: put it in quotes, as it is"),
        ("integer", "22:30", "'22:30' is not a number, and the column is integer: write a plain decimal number"),
        ("numeric(8,2)", "true", "True is not a number, and the column is numeric(8,2): write a plain decimal number"),
        ("bigint", ".inf", "the column is bigint, which has no infinity: write null for an open end"),
        ("boolean", "yes", "'yes' is not true or false, and the column is boolean: write one"),
    ],
)
def test_a_constant_that_does_not_fit_the_type_of_its_column_is_refused(type_: str, value: str, sentence: str) -> None:
    typed = TEXT.replace("type: text", f'type: "{type_}"').replace("not_null: [name]", "CHECK")
    for check, loc in ((f"accepted_values: {{name: [{value}]}}", 0), (f"range: {{name: [null, {value}]}}", 1)):
        with pytest.raises(ModelError) as caught:
            split(PATH, typed.replace("CHECK", check))
        word = check.partition(":")[0]
        assert str(caught.value).startswith(f"{PATH}:14: checks.{word}.name.{loc}: {sentence}")


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("integer", "[010, 0x1F, 1e3, '12']"),
        ("numeric", "[0.5, '99999999999999999.99', .inf]"),
        ("double precision", "[1e-3, -.inf]"),
        ("boolean", "[True, false]"),
        ("date", "[2025-01-01, infinity]"),
        ("jsonb", "[1, '\"a\"', true]"),
        ("uuid", "[6f1c1c4e-0d3b-4c57-9d56-1d8f9d0c3a11]"),
    ],
)
def test_constants_that_fit_their_columns_are_accepted(type_: str, values: str) -> None:
    typed = TEXT.replace("type: text", f'type: "{type_}"').replace(
        "not_null: [name]", f"accepted_values: {{name: {values}}}"
    )
    assert len(split(PATH, typed)[0].checks.accepted_values["name"]) == values.count(",") + 1


def test_a_check_word_that_is_not_built_in_is_a_custom_check() -> None:
    text = with_checks("  odd:\n    severity: warn\n    bad_rows: select * from {this}\n")
    custom = split(PATH, text)[0].checks.custom
    assert [(name, check.severity, check.bad_rows) for name, check in custom.items()] == [
        ("odd", "warn", "select * from {this}")
    ]


@pytest.mark.parametrize(
    "type_",
    [
        "smallint",
        "integer",
        "bigint",
        "numeric",
        "numeric(13,12)",
        "real",
        "double precision",
        "boolean",
        "text",
        "date",
        "uuid",
        "jsonb",
        "timestamp without time zone",
        "timestamp with time zone",
    ],
)
def test_a_type_of_the_allow_list_is_accepted(type_: str) -> None:
    header, _, _ = split(PATH, changed("type: text", f'type: "{type_}"'))
    assert header.columns["name"].type == type_


@pytest.mark.parametrize("owner", ["team:data-eng_1", "ann@example.com"])
def test_an_owner_is_a_team_or_an_address(owner: str) -> None:
    assert split(PATH, changed("team:tests", owner))[0].owner == owner


def selected(words: str) -> str:
    """Return the header of a table with a SELECT, with more words on line 5."""
    text = TEXT[: TEXT.index("source:")] + f"{words}\n" + TEXT[TEXT.index("columns:") :]
    return text.partition("checks:")[0] + "@end */\nselect 1\n"


ERRORS = {
    # the shape of the file
    "no header": ("select 1", 1, "does not begin with a header"),
    "a header that is not first": ("\n" + TEXT, 1, "does not begin with a header"),
    "a header that is not closed": (TEXT.replace("@end */\n", ""), 1, r"write @end \*/ on a line of its own"),
    "a list instead of words": (
        "/* @asset\n- a\n@end */\n",
        2,
        "a list is not a set of words: write each on a line of its own",
    ),
    # YAML
    "a tab": (changed("  not_null", "\tnot_null"), 14, "a value begins with a tab: indent with spaces"),
    "a wrong indentation": (
        changed("  format: csv", "   format: csv"),
        7,
        "this line has a second `: `, or another indentation than",
    ),
    "a quote that is not closed": (changed("Name.", '"Name.'), 12, "a quote opens here and is never closed: close it"),
    "a bracket that is not closed": (
        changed("[thing_id]", "[thing_id"),
        4,
        "a bracket opens here and its parts cannot be told apart: close it",
    ),
    "a brace that is not closed": (
        changed("Thing.}", "Thing."),
        9,
        "a bracket opens here and its parts cannot be told apart: close it",
    ),
    "a second document": (changed("grain:", "---\ngrain:"), 4, "--- begins a second document: take it out"),
    "an unknown anchor": (
        changed("[thing_id]", "[*nobody]"),
        4,
        r"a value that begins with \* refers to one that is marked with &: put it in quotes",
    ),
    "a key that is a list": (changed("grain:", "? [a]\n: 1\ngrain:"), 4, "a key must be one word"),
    "a Python object": (
        changed("Name.", "!!python/object:os.system x"),
        12,
        "the tag that begins with ! is not known here: take it out",
    ),
    "a control character": (changed("Name.", "Na\x07me."), 12, r"the control character U\+0007"),
    "a word twice": (changed("grain:", "owner: team:x\ngrain:"), 4, "the key 'owner' appears a second time"),
    "a column twice": (
        changed("  name:", "  thing_id: {type: text, description: Again.}\n  name:"),
        10,
        "the key 'thing_id' appears a second time",
    ),
    "a word of a column twice": (changed("{type: integer,", "{type: integer, type: text,"), 9, "the key 'type'"),
    # unknown words, at each level
    "an unknown word": (changed("grain:", "colour: red\ngrain:"), 4, "unknown word 'colour'"),
    "an unknown word of a source": (changed("format: csv", "format: csv\n  sheet: 1"), 8, "word 'source.sheet'"),
    "an unknown word of a column": (changed("    type:", "    unit: kg\n    type:"), 11, "word 'columns.name.unit'"),
    "an unknown word of min_rows": (with_checks("  min_rows: {least: 1}\n"), 14, "word 'checks.min_rows.least'"),
    "an unknown word of reconcile": (with_checks("  reconcile: {source: raw.x, lost: 1}\n"), 14, "reconcile.lost'"),
    "an unknown word of a check": (
        with_checks("  odd:\n    bad_rows: select 1\n    level: 1\n"),
        16,
        r"unknown word 'checks\.odd\.level': take it out, or write one of bad_rows, reconcile",
    ),
    "an unknown word of a kpi": (with_kpi("  chart: {x: name, y: name}\n  map: 1\n"), 15, "unknown word 'kpi.map'"),
    "an unknown word of a chart": (
        with_kpi("  chart:\n    x: name\n    y: name\n    z: name\n"),
        17,
        "unknown word 'kpi.chart.z'",
    ),
    # missing words, at each level, with the line of the mapping that lacks them
    "no description": (changed("description: Things as delivered.\n", ""), 2, "'description' is missing"),
    "no owner": (changed("owner: team:tests\n", ""), 2, "'owner' is missing"),
    "no grain": (changed("grain: [thing_id]\n", ""), 2, "'grain' is missing"),
    "no columns": (TEXT[: TEXT.index("columns:")] + "@end */\n", 2, "'columns' is missing"),
    "no object": (TEXT.replace(TEXT.splitlines()[5] + "\n", ""), 5, "'source.object' is missing"),
    "no format": (changed("  format: csv\n", ""), 5, "'source.format' is missing"),
    "no type": (changed("    type: text\n", ""), 10, "'columns.name.type' is missing"),
    "no description of a column": (
        changed("    description: Name.\n", ""),
        10,
        "'columns.name.description' is missing",
    ),
    "no bad_rows": (with_checks("  odd: {severity: warn}\n"), 14, "either bad_rows or reconcile: give one of them"),
    "bad_rows and reconcile": (
        with_checks("  odd: {bad_rows: select 1, reconcile: {source: raw.t}}\n"),
        14,
        r"checks\.odd: a check has either bad_rows or reconcile: give one of them",
    ),
    "no source to reconcile": (with_checks("  reconcile: {counted: count(*)}\n"), 14, "'checks.reconcile.source' is"),
    "no chart": (with_kpi("  {}\n"), 13, "'kpi.chart' is missing"),
    "half a chart": (with_kpi("  chart: {x: name}\n"), 14, "'kpi.chart.y' is missing"),
    "half a range": (
        with_checks("  range: {name: [1]}\n"),
        14,
        r"checks\.range\.name: a range is its lowest and its highest value",
    ),
    # wrong values
    "a short description": (changed("Things as delivered.", "abc"), 2, "at least 4 characters"),
    "a number as description": (
        changed("Things as delivered.", "12345"),
        2,
        "description: 12345 is not text: write a text",
    ),
    "an owner that is neither": (
        changed("team:tests", "tests"),
        3,
        "owner: 'tests' is neither a team nor an address: write team:name",
    ),
    "a grain that is a word": (
        changed("[thing_id]", "thing_id"),
        4,
        r"grain: 'thing_id' is not a list: write \[a, b\]",
    ),
    "an empty grain": (changed("[thing_id]", "[]"), 4, "grain: it has 0 parts: write at least 1"),
    "a column in the grain twice": (changed("[thing_id]", "[name, name]"), 4, "grain: a column is named twice"),
    "columns that are a list": (
        TEXT[: TEXT.index("columns:")] + "columns: [a]\n@end */\n",
        8,
        "columns: a list is not a set of words",
    ),
    "a column in capitals": (
        changed("  name:", "  Name:"),
        10,
        r"columns\.Name: 'Name' is not a valid name: write .*, as in 'name'$",
    ),
    "a column with a space": (changed("  name:", "  first name:"), 10, "as in 'first_name'$"),
    "a column with a quote": (changed("  name:", '  "a\\"b":'), 10, "as in 'a_b'$"),
    "a column of 41 letters": (changed("  name:", f"  {'n' * 41}:"), 10, "is longer than 40 letters: shorten it"),
    "a number as column": (changed("  name:", "  1:"), 10, "1 is not text: write a text, in quotes"),
    "a column without anything": (
        changed("  name:", "  empty:\n  name:"),
        10,
        "columns.empty: nothing is not a set of words",
    ),
    "load_date as column": (
        changed("  name:", "  load_date: {type: date, description: Day.}\n  name:"),
        10,
        "columns.load_date: it is every table's first column already",
    ),
    "a column that Postgres hides in each table": (
        changed("  name:", "  ctid: {type: text, description: Place.}\n  name:"),
        10,
        "columns.ctid: every table of Postgres has a hidden column of this name: give it another",
    ),
    "a check that a recheck makes": (
        with_checks("  as_published: {bad_rows: select 1}\n"),
        14,
        "checks.as_published: `kpi recheck` makes a check of this name: choose another name",
    ),
    "an unknown type": (
        changed("type: text", "type: datetime"),
        11,
        r"name\.type: 'datetime' is not .* write timestamp without time zone, or .* numeric\(p,s\), real",
    ),
    "SQL as type": (changed("type: text", 'type: "text); drop table x"'), 11, "is not a known column type"),
    "a type and a line end": (changed("type: text", r'type: "text\n"'), 11, "is not a known column type"),
    "an unknown format": (
        changed("format: csv", "format: xml"),
        7,
        "source.format: 'xml' is not known here: write 'csv'",
    ),
    "a budget below 0": (
        changed("columns:", "quarantine: {rows: -1}\ncolumns:"),
        8,
        "-1 is too small: write 0 or more",
    ),
    "an unknown word for ends_with_line_end": (
        changed("format: csv", "format: csv\n  ends_with_line_end: maybe"),
        8,
        "source.ends_with_line_end: 'maybe' is not known here: write 'warn', 'hold' or 'ignore'",
    ),
    "an unknown word for same_bytes": (
        changed("format: csv", "format: csv\n  same_bytes: error"),
        8,
        "source.same_bytes: 'error' is not known here: write 'warn', 'hold' or 'ignore'",
    ),
    "more than all": (
        changed("columns:", "quarantine: {share: 5}\ncolumns:"),
        8,
        "5 is too large: write 1 or less",
    ),
    "true for a number": (
        changed("columns:", "quarantine: {rows: true}\ncolumns:"),
        8,
        "quarantine.rows: it is true: write a number",
    ),
    "a quarantine that says nothing": (
        changed("columns:", "quarantine: {}\ncolumns:"),
        8,
        "quarantine: says nothing: write {rows: 20}, {share: 0.01} or both, or take it out",
    ),
    "the budget where it was": (
        changed("format: csv", "format: csv\n  quarantine_budget: 3"),
        8,
        "source.quarantine_budget: it is a word of the header now: write `quarantine: {rows: 3}` beside source",
    ),
    "rules of a raw table": (
        changed("columns:", "quarantine: {rules: {not_null: [name]}}\ncolumns:"),
        8,
        "quarantine.rules: a raw table sets aside the records that cannot be read: put rules into a table that selects",
    ),
    "a budget without rules": (
        selected("quarantine: {rows: 3}"),
        5,
        "quarantine: no rule sets a row aside here: add rules, or take it out",
    ),
    "rules of a view": (
        selected("storage: view\nquarantine: {rules: {not_null: [name]}}"),
        6,
        "quarantine: a view shows the rows that its table has: put it there",
    ),
    "no rule": (
        selected("quarantine: {rules: {}}"),
        5,
        "quarantine.rules: there is no rule: write one, or take the word out",
    ),
    "a rule that says nothing of rows": (
        selected("quarantine: {rules: {min_rows: {at_least: 3}}}"),
        5,
        "rules.min_rows: it says of no single row that it is bad: write it below checks; a rule is 'not_null', 'acc",
    ),
    "a reconciliation as a rule": (
        selected("quarantine: {rules: {all: {reconcile: {source: raw.things}}}}"),
        5,
        "all.reconcile: it says of no single row that it is bad: write it below checks",
    ),
    "a severity of a rule": (
        selected("quarantine: {rules: {few: {bad_rows: 'select * from {this} where thing_id = 1', severity: warn}}}"),
        5,
        "few.severity: a rule has no severity: rows that break it are set aside",
    ),
    "a misspelled rule": (
        selected("quarantine: {rules: {not_nul: [name]}}"),
        5,
        "unknown word 'quarantine.rules.not_nul': write 'not_null', or else a rule of your own has the word bad_rows",
    ),
    "a rule of an unknown column": (
        selected("quarantine: {rules: {range: {size: [1, 2]}}}"),
        5,
        r"quarantine.rules.range.size: 'size' is not one of the columns \(thing_id, name\)",
    ),
    "a constant of another type in a rule": (
        selected("quarantine: {rules: {accepted_values: {name: [7]}}}"),
        5,
        "7 is a number in YAML, and the column is text",
    ),
    "a budget in words": (
        changed("columns:", "quarantine: {rows: no}\ncolumns:"),
        8,
        "'no' is not a whole number: write digits only",
    ),
    "an unknown storage": (
        changed("grain:", "storage: heap\ngrain:"),
        4,
        "storage: 'heap' is not known here: write 'rows', 'partitions', 'view', 'history', 'lake' or 'live'",
    ),
    "a share above 1": (
        with_checks("  min_rows:\n    of_previous: 1.5\n"),
        15,
        r"min_rows\.of_previous: 1.5 is too large: write 1 or less",
    ),
    "a minimum below 0": (with_checks("  min_rows:\n    at_least: -1\n"), 15, "-1 is too small: write 0 or more"),
    "an unknown severity": (
        with_checks("  odd:\n    severity: fatal\n    bad_rows: select 1\n"),
        15,
        "'fatal' is not known here: write 'error', 'warn' or 'alert'",
    ),
    "a severity of all words that is none": (
        with_checks("  severity: fatal\n"),
        14,
        "checks.severity: 'fatal' is no severity: write error or warn for the words of this file, and another name for",
    ),
    "a check of one's own called severity": (
        with_checks("  severity: {bad_rows: 'select * from {this}'}\n"),
        14,
        "checks.severity: a set of words is no severity: write error or warn for the words of this file",
    ),
    "a severity of one word that is none": (
        with_checks("  range:\n    thing_id: [1, 2]\n    severity: fatal\n"),
        16,
        r"checks\.range\.severity: 'fatal' is no severity: write error, warn or alert; it is no column or key here",
    ),
    "a column called severity": (
        with_checks("  accepted_values:\n    severity: [low, high]\n"),
        15,
        r"checks\.accepted_values\.severity: a list is no severity: .* of this name, write a check of your own",
    ),
    "an unknown dimension": (
        with_checks("  range:\n    thing_id: [1, 2]\n    dimension: accuracy\n"),
        16,
        r"range\.dimension: 'accuracy' is no dimension: write completeness, uniqueness, validity, consistency or refer",
    ),
    "an unknown dimension of a check of one's own": (
        with_checks("  odd:\n    bad_rows: select 1\n    dimension: accuracy\n"),
        16,
        r"checks\.odd\.dimension: 'accuracy' is not known here: write 'completeness', 'uniqueness', 'validity'",
    ),
    "a severity of a list without its name": (
        with_checks("").replace("[name]", "\n    column: [name]\n    severity: warn"),
        15,
        r"checks\.not_null\.column: is not known here: write {columns: \[a, b\], severity: warn}",
    ),
    "a column that is none in a list with its name": (
        with_checks("").replace("[name]", "\n    severity: warn\n    columns:\n      - name\n      - nope"),
        18,
        r"checks\.not_null\.columns\.1: 'nope' is not one of the columns \(thing_id, name\)",
    ),
    "a misspelled word with a severity": (
        with_checks("  rang: {thing_id: [1, 2], severity: warn}\n"),
        14,
        r"unknown word 'checks\.rang': write 'range', or else a check of your own has the word bad_rows or reconcile",
    ),
    "a severity of a built-in rule": (
        selected("quarantine: {rules: {range: {thing_id: [1, 2], severity: warn}}}"),
        5,
        r"quarantine\.rules\.range\.severity: a rule has no severity: rows that break it are set aside",
    ),
    "a severity of a built-in rule with a list": (
        selected("quarantine: {rules: {not_null: {columns: [name], severity: warn}}}"),
        5,
        r"quarantine\.rules\.not_null\.severity: a rule has no severity: rows that break it are set aside",
    ),
    "a severity of all rules": (
        selected("quarantine: {rules: {severity: warn, not_null: [name]}}"),
        5,
        r"quarantine\.rules\.severity: a rule has no severity: rows that break it are set aside",
    ),
    "a dimension of a built-in rule": (
        selected("quarantine: {rules: {not_null: {columns: [name], dimension: validity}}}"),
        5,
        r"not_null\.dimension: a rule has no dimension: the rows that it sets aside count in the check `quarantine`",
    ),
    "a dimension of a rule of one's own": (
        selected("quarantine: {rules: {few: {bad_rows: 'select * from {this} where thing_id = 1', dimension: no}}}"),
        5,
        r"few\.dimension: a rule has no dimension: the rows that it sets aside count in the check `quarantine`",
    ),
    "a score above 100": (
        changed("columns:", "quality:\n  at_least: 101\ncolumns:"),
        9,
        r"quality\.at_least: 101 is too large: write 100 or less",
    ),
    "a score below 0": (
        changed("columns:", "quality: {at_least: -1}\ncolumns:"),
        8,
        "-1 is too small: write 0 or more",
    ),
    "a score with three decimals": (
        changed("columns:", "quality:\n  at_least: 79.995\ncolumns:"),
        9,
        r"quality\.at_least: 79.995 has more than two decimals, and a score has two: write two",
    ),
    "a score without a word": (changed("columns:", "quality:\ncolumns:"), 8, "quality: it is empty: write its value"),
    "a score of a view": (
        changed(TEXT[TEXT.index("source:") : TEXT.index("columns:")], "storage: view\nquality: {}\n").replace(
            "checks:\n  not_null: [name]\n", ""
        ),
        6,
        "quality: a view shows what its table shows, before any check: put it there",
    ),
    "an empty query": (with_checks("  odd:\n    bad_rows: ' '\n"), 15, "is too short: write at least 1 character"),
    "a check in capitals": (
        with_checks("  Odd: {bad_rows: select 1}\n"),
        14,
        r"checks\.Odd: 'Odd' is not a valid name: .*, as in 'odd'$",
    ),
    "no accepted value": (with_checks("  accepted_values: {name: []}\n"), 14, "it has 0 parts: write at least 1"),
    "null as accepted value": (
        with_checks("  accepted_values: {name: [null]}\n"),
        14,
        "nothing is not a single value: write a text, a number, true or false",
    ),
    "a range of three": (
        with_checks("  range:\n    name: [1, 2, 3]\n"),
        15,
        "a range is its lowest and its highest value",
    ),
    "a range without ends": (
        with_checks("  range:\n    thing_id: [1, 2]\n    name: [null, null]\n"),
        16,
        "checks.range.name: both ends are null",
    ),
    "a range to NaN": (
        with_checks("  range:\n    thing_id: [1, .nan]\n"),
        15,
        r"checks\.range\.thing_id: NaN cannot be an end: give a number, or null for an open end",
    ),
    "unique over nothing": (with_checks("  unique: {pair: []}\n"), 14, "it has 0 parts: write at least 1"),
    "a reference that is no column": (
        with_checks("  foreign_key:\n    thing_id: raw.x.y\n    name: raw.other\n"),
        16,
        "checks.foreign_key.name: refers to 'raw.other': write schema.table.column",
    ),
    "a source that is no table": (with_checks("  reconcile:\n    source: other\n"), 15, "not of the form schema.table"),
    "a rule in capitals": (
        with_checks("  reconcile:\n    source: raw.x\n    dropped:\n      Bad: 1 = 1\n"),
        17,
        "'Bad' is not a valid name",
    ),
    "a chart of 41 bars": (
        with_kpi("  chart:\n    x: name\n    y: name\n    top: 41\n"),
        17,
        "41 is too large: write 40 or less",
    ),
    # words that name an unknown column
    "grain of no column": (changed("[thing_id]", "[nope]"), 4, r"grain\.0: 'nope' is not one of the columns"),
    "not_null of no column": (
        with_checks("  ").replace("[name]", "[name,\n    nope]"),
        15,
        r"checks\.not_null\.1: 'nope'",
    ),
    "accepted_values of no column": (
        with_checks("  accepted_values:\n    name: [1]\n    nope: [1]\n"),
        16,
        r"checks\.accepted_values\.nope: 'nope' is not one of the columns \(thing_id, name\)",
    ),
    "range of no column": (with_checks("  range:\n    nope: [1, 2]\n"), 15, r"checks\.range\.nope: 'nope' is not"),
    "unique of no column": (
        with_checks("  unique:\n    pair: [nope]\n"),
        15,
        r"checks\.unique\.pair\.0: 'nope' is not",
    ),
    "foreign_key of no column": (with_checks("  foreign_key:\n    nope: raw.x.y\n"), 15, "foreign_key.nope: 'nope' is"),
    "chart of no column": (
        with_kpi("  chart:\n    x: name\n    y: nope\n"),
        16,
        r"kpi\.chart\.y: 'nope' is not one of",
    ),
    "days of no column": (
        with_kpi("  chart: {x: name, y: thing_id}\n  final: {after_days: 3, by: nope}\n"),
        15,
        r"kpi\.final\.by: 'nope' is not one of",
    ),
    "days of a column that is no day": (
        with_kpi("  chart: {x: name, y: thing_id}\n  final: {after_days: 3, by: name}\n"),
        15,
        r"kpi\.final\.by: 'name' tells no row by its day: name a column of the grain of the type date",
    ),
    "freshness of a table that is no KPI": (
        changed("checks:\n", "freshness: {within_hours: 36}\nchecks:\n"),
        13,
        "freshness: is for KPIs: say kpi as well, or take it out",
    ),
    "freshness within seconds": (
        with_volume().replace("min_volume: {column: thing_id, at_least: 2}", "freshness: {within_hours: 0.01}"),
        7,
        "freshness.within_hours: 0.01 is too small: write 0.02 or more",
    ),
    "min_volume of no column": (
        with_volume("{column: nope, at_least: 2}"),
        7,
        r"min_volume\.column: 'nope' is not one of the columns",
    ),
    "min_volume of a text": (
        with_volume("{column: name, at_least: 2}"),
        7,
        r"min_volume\.column: 'name' counts nothing: name a column of type smallint, integer, bigint",
    ),
    "min_volume of nothing": (with_volume("{column: thing_id, at_least: 0}"), 7, "0 is too small: write 1 or more"),
    "min_volume of a table that is no KPI": (
        changed("checks:\n", "min_volume: {column: thing_id, at_least: 2}\nchecks:\n"),
        13,
        "min_volume: is for a KPI with a SELECT whose rows are stored: take it out",
    ),
    "min_volume of a view": (
        with_volume("{column: thing_id, at_least: 2}\nstorage: view").replace("checks:\n  not_null: [name]\n", ""),
        7,
        "min_volume: is for a KPI with a SELECT whose rows are stored: take it out",
    ),
    "min_volume and a column of its name": (
        with_volume().replace("  name:\n", "  is_low_volume: {type: boolean, description: Own.}\n  name:\n"),
        10,
        r"columns\.is_low_volume: min_volume makes this column: take it out",
    ),
}


def test_min_volume_makes_a_column_that_the_select_does_not_return() -> None:
    header, _, _ = split(PATH, with_volume())
    assert (list(header.columns), header.selected) == (["thing_id", "name", "is_low_volume"], ["thing_id", "name"])
    assert header.columns["is_low_volume"].type == "boolean"


@pytest.mark.parametrize(("text", "line", "sentence"), ERRORS.values(), ids=ERRORS)
def test_a_wrong_header_is_an_error_with_the_line_of_the_mistake(text: str, line: int, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence) as caught:
        split(PATH, text)
    assert str(caught.value).startswith(f"{PATH}:{line}: ")
    assert isinstance(caught.value, UserError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("written", ["numeric(10,2)", "numeric(10, 2)", "decimal( 10 , 2 )", '"numeric(10,2)"'])
def test_a_type_with_a_comma_is_read_between_braces(written: str) -> None:
    header, _, _ = split(
        PATH, changed("{type: integer, description: Thing.}", f"{{type: {written}, description: Thing.}}")
    )
    assert header.columns["thing_id"].type == "numeric(10,2)"


def test_a_type_with_an_open_bracket_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        split(PATH, changed("{type: integer, description: Thing.}", "{type: numeric(10,x), description: Thing.}"))
    told = "columns.thing_id.type: 'numeric(10' ends at a comma: write the type in quotes, as in \"numeric(10,2)\""
    first = caught.value.each[0]
    assert (first.line, first.problem) == (9, told)


def test_all_missing_words_are_reported_at_once_with_an_example_each() -> None:
    with pytest.raises(ModelError) as caught:
        split(PATH, "/* @asset\n\n@end */\n")
    examples = ("description: One row per order.", "owner: team:analytics", "grain: [order_id]")
    columns = "columns: {order_id: {type: integer, description: Order.}}"
    assert caught.value.sentences == [
        f"{PATH}:1: {example.partition(':')[0]!r} is missing: add it, as in `{example}`"
        for example in (*examples, columns)
    ]


def with_source(words: str) -> str:
    return changed("source:\n  object: raw/things/load_date={load_date}/things.csv", f"source:\n  {words}")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            "object: raw/../{load_date}/things.csv",
            "object: 'raw/../{load_date}/things.csv' is not the key of an object",
        ),
        ("object: raw/{load_date:%Y-%m}.csv", "object: 'raw/{load_date:%Y-%m}.csv' does not tell the day"),
        ("object: raw/{load_date}.csv\n  complete: {objects: 2}", "complete: is for several objects a load_date"),
        ("object: raw/{load_date}/*\n  complete: {}", "complete: takes one word"),
        ("object: raw/{load_date}/*\n  complete: {objects: 2, settled_minutes: 5}", "complete: takes one word"),
        ("object: raw/{load_date}/*\n  complete: {objects: 0}", "complete.objects: 0 is too small"),
        ("object: raw/{load_date}/*\n  complete: {marker: raw/_DONE}", "complete.marker: 'raw/_DONE' is not the key"),
        ("object: raw/{load_date}/*\n  complete: {settled_minutes: soon}", "complete.settled_minutes: 'soon' is not"),
        ("object: raw/things.csv\n  same_bytes: hold", "same_bytes: is for objects of a load_date"),
    ],
)
def test_a_source_whose_objects_cannot_be_found_is_refused(words: str, problem: str) -> None:
    with pytest.raises(ModelError) as caught:
        split(PATH, with_source(words))
    assert f"source.{problem}" in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        "object: raw/things.csv",
        "object: raw/{load_date}/{load_date}.csv",
        "object: raw/{load_date:%Y/%m}/things-{load_date:%d}.csv",
        "object: raw/{load_date}/*\n  complete: {marker: 'raw/{load_date}/_SUCCESS'}",
    ],
)
def test_the_words_of_objects_are_read(words: str) -> None:
    assert split(PATH, with_source(words))[0].source


@pytest.mark.parametrize("word", ["kpi", "lookback", "storage"])
def test_a_word_without_a_value_is_refused(word: str) -> None:
    """Otherwise `kpi:` with its chart taken out would mean that the table is no KPI, and has none of a KPI's checks."""
    with pytest.raises(ModelError, match=rf": {word}: it is empty: write its value, or take the word out"):
        split(PATH, changed("source:\n", f"{word}:\nsource:\n"))


@pytest.mark.parametrize("lookback", ["1", "0", "-3", "367", "2.5", "a week"])
def test_a_lookback_that_is_not_2_to_366_days_is_refused(lookback: str) -> None:
    with pytest.raises(ModelError, match=r":5: lookback: .* (is too small|is too large|is not a whole number): write "):
        split(PATH, changed("source:\n", f"lookback: {lookback}\nsource:\n"))


def test_raw_tables_and_views_cannot_have_a_lookback() -> None:
    with pytest.raises(ModelError, match=r":5: lookback: a raw table reads the object of its load_date: look back in "):
        split(PATH, changed("source:\n", "lookback: 7\nsource:\n"))
    without = TEXT.replace(TEXT[TEXT.index("source:") : TEXT.index("columns:")], "storage: view\nlookback: 7\n")
    with pytest.raises(ModelError, match=r":6: lookback: a view shows one load_date: look back in a table that has "):
        split(PATH, without.replace("checks:\n  not_null: [name]\n", ""))
