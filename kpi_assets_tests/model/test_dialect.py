"""Each wrong word of a dialect, and each contradiction, is refused with a sentence that says what to write."""

from pathlib import Path

import pytest

from kpi_assets.model.checks.expand import expand
from kpi_assets.model.dialect import dialect_of
from kpi_assets.model.header import Header, split
from kpi_assets.model.strict_yaml import Lines, ModelError
from kpi_assets.model.versions import checks_version, code_version
from kpi_assets.model.written import Notation, RefusedError, form_of

FILE = """\
/* @asset
description: Things as delivered.
owner: team:tests
grain: [k]
source:
  object: raw/things/{{load_date}}.csv
  format: csv
{source}
columns:
  k: {{type: integer, description: Number.}}
  v: {{type: "{type}", description: Value.{column}}}
@end */
"""
PATH = Path("sql/shop/raw/things.sql")


def load(source: str = "", type_: str = "text", column: str = "", format_: str = "csv") -> Header:
    words = "\n".join(f"  {word}" for word in source.split("; ") if word)
    text = FILE.format(source=words, type=type_, column=f", {column}" if column else "")
    return split(PATH, text.replace("format: csv", f"format: {format_}"))[0]


IS_CHARACTER = "is not one character: write one of ASCII that is no letter and no digit"
OF_SOURCE = {
    "delimiter: ';;'": f"source.delimiter: ';;' {IS_CHARACTER}",
    "delimiter: a": f"source.delimiter: 'a' {IS_CHARACTER}",
    "delimiter: §": f"source.delimiter: '§' {IS_CHARACTER}",
    "delimiter: .": "source.delimiter: '.' cannot separate values: write another character, or tab",
    "delimiter: ''": 'source.delimiter: it is empty: write the character in quotes, as in "|" or "#"',
    "quote: double": f"source.quote: 'double' {IS_CHARACTER}",
    'escape: "\'"; quote: "\'"': (
        "source.escape: it is the quote, which is doubled within a value without this word: take it out"
    ),
    "escape: '^'; quote: none": (
        "source.escape: it is for values in quotes, and there are none: take it out, or correct quote"
    ),
    "quote: ','": "source.quote: it is the delimiter too: one character cannot be both",
    "comment: ';'; delimiter: ';'": "source.comment: it is the delimiter too: one character cannot be both",
    "header: 1": "source.header: 1 is not true or false: write one of them",
    "skip_lines: -1": "source.skip_lines: -1 is too small: write 0 or more",
    "encoding: latin-99": (
        "source.encoding: 'latin-99' is not an encoding that Python knows: write utf-8, utf-16, cp1252 or another"
    ),
    "encoding: rot13": (
        "source.encoding: 'rot13' is not an encoding that Python knows: write utf-8, utf-16, cp1252 or another"
    ),
    "compression: rar": "source.compression: 'rar' is not known here: write 'gzip', 'zip' or 'zstd'",
    "null: NA": "source.null: 'NA' is not a list: write [a, b]",
    "null: [NA, NA]": "source.null: a text is in it twice: take it out once",
    "null: [~]": "source.null.0: nothing is not text: write a text, in quotes if it looks like something else",
    "decimal: ','": "source.decimal: ',' is not known here: write 'point' or 'comma'",
    "thousands: comma; decimal: comma": (
        "source.thousands: comma stands before the decimals: write another, or correct decimal"
    ),
    "true: [Y]": "source.true: it says nothing about false: write the texts of both words",
    "true: [Y]; false: [Y]": "source.false: 'Y' is true too: one text cannot be both",
    "true: [Y]; false: ['']": "source.false: '' is NULL too, by the word null: one text cannot be both",
    "time_zone: Berlin": (
        "source.time_zone: 'Berlin' is not a time zone: write a name of IANA, such as Europe/Berlin or UTC"
    ),
    "extra: drop": "source.extra: 'drop' is not known here: write 'hold', 'ignore' or 'keep'",
    "extra: keep; header: false": (
        "source.extra: without a header no field has a name: take it out, or write header: true"
    ),
    "compression: gzip; ends_with_line_end: hold": (
        "source.ends_with_line_end: the end of a packed object is not known before it is loaded: take it out"
    ),
    "position: k": "source.position: it makes the column 'k', which is declared too: take one of them out",
    "position: n; object_key: n": "source.object_key: it is the column of position too: give it another name",
}
OF_COLUMNS = {
    ("integer", "format: epoch"): (
        "columns.v.format: is for columns of date, time and timestamp, and the column is integer: take it out"
    ),
    ("date", "format: YYYY-MM"): "columns.v.format: 'YYYY-MM' has no day: write it with",
    ("date", "format: '%Y-%m-%d'"): "columns.v.format: '%Y-%m-%d' has '%', which is no part of a date: write it with",
    ("date", "format: yyyy-mm-dd"): "columns.v.format: 'yyyy-mm-dd' has 'y', which is no part of a date: write it with",
    ("timestamp without time zone", "format: 'YYYY-MM-DD HH:MM:SS'"): (
        "columns.v.format: 'YYYY-MM-DD HH:MM:SS' has the month twice: write it once; minutes are MI, months MM"
    ),
    ("date", "format: M/D/YYYY H"): (
        "columns.v.format: 'M/D/YYYY H' has a time, and the column is a date: declare a timestamp, or take the time out"
    ),
    ("timestamp with time zone", "format: M/D/YYYY"): (
        "columns.v.format: 'M/D/YYYY' has no offset: write Z where it stands, or the time_zone of the values"
    ),
    ("timestamp without time zone", "format: M/D/YYYY HH12:MI"): (
        "columns.v.format: AM and HH12 belong together: write both, or HH for hours from 00 to 23"
    ),
    ("date", "format: DMYYYY"): (
        "columns.v.format: D has one digit or more, so where it ends cannot be told: put a character behind it"
    ),
    ("text", "decimal: comma"): "columns.v.decimal: is for numbers, and the column is text: take it out",
    ("integer", "allow: [nan]"): (
        "columns.v.allow: is for numeric, real and double precision, and the column is integer: take it out"
    ),
    ("numeric(8,2)", "allow: [infinity]"): (
        "columns.v.allow: numeric(8,2) holds no infinity: declare numeric or double precision, or take it out"
    ),
    ("numeric", "round: half_even"): (
        "columns.v.round: is for columns of type numeric(p,s), and the column is numeric: take it out"
    ),
    ("numeric(8,2)", "round: up"): "columns.v.round: 'up' is not known here: write 'half_even'",
    ("text", "field: k"): "columns.k: the field 'k' fills another column too: name another",
    ("text", "since: 2025"): "columns.v.since: '2025' is not a date: write it as YYYY-MM-DD",
}


@pytest.mark.parametrize("words", OF_SOURCE)
def test_a_wrong_word_of_a_source_is_refused_with_what_to_write(words: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(words)
    assert OF_SOURCE[words] in str(caught.value)


@pytest.mark.parametrize(("type_", "word"), OF_COLUMNS)
def test_a_wrong_word_of_a_column_is_refused_with_what_to_write(type_: str, word: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(type_=type_, column=word)
    assert OF_COLUMNS[type_, word] in str(caught.value)


OF_JSON = {
    "delimiter: ';'": "source.delimiter: json has no such word: take it out, or correct format",
    "encoding: cp1252": "source.encoding: json has no such word: take it out, or correct format",
    "header: false": "source.header: json has no such word: take it out, or correct format",
    "whole: k": "source.whole: it makes the column 'k', which is declared too: take one of them out",
    "position: n; whole: n": "source.whole: it is the column of position too: give it another name",
    "records: ''": "source.records: '' is too short: write at least 1 characters",
}


@pytest.mark.parametrize("words", OF_JSON)
def test_a_wrong_word_of_json_is_refused_with_what_to_write(words: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(words, format_="json")
    assert OF_JSON[words] in str(caught.value)


@pytest.mark.parametrize("format_", ["csv", "parquet"])
@pytest.mark.parametrize("word", ["records: data", "whole: raw_data"])
def test_words_of_json_are_refused_in_other_formats(format_: str, word: str) -> None:
    with pytest.raises(ModelError, match=rf"source.{word.split(':', maxsplit=1)[0]}: is for json: take it out, or"):
        load(word, format_=format_)


def test_json_adds_the_whole_record_and_has_no_text_that_is_null() -> None:
    header = load("position: n; whole: raw; extra: keep; compression: gzip", format_="json")
    assert {name: column.type for name, column in header.columns.items()} == {
        "k": "integer",
        "v": "text",
        "n": "bigint",
        "raw": "json",
        "extra_fields": "jsonb",
    }
    assert list(header.delivered) == ["k", "v"]
    assert header.source is not None
    dialect = dialect_of(header.source, header.delivered)
    assert ({each.form.null for each in dialect.fields}, dialect.extra, dialect.whole) == ({()}, "keep", "raw")


@pytest.mark.parametrize(
    ("format_", "words", "nulls", "extra"),
    [
        ("csv", "", ("",), "hold"),
        ("csv", "null: ['']; extra: hold", ("",), "hold"),
        ("json", "", (), "hold"),
        ("json", "whole: w", (), "warn"),
        ("json", "whole: w; extra: hold; null: ['', NA]", ("", "NA"), "hold"),
    ],
)
def test_what_is_meant_without_a_word_depends_on_the_format(
    format_: str, words: str, nulls: tuple[str, ...], extra: str
) -> None:
    source = load(words, format_=format_).source
    assert source is not None
    assert (source.null_texts, source.unknown_fields) == (nulls, extra)


def test_saying_what_is_meant_anyway_changes_no_version_and_another_meaning_does() -> None:
    def versions(words: str, format_: str) -> tuple[str, str]:
        header = load(words, format_=format_)
        return code_version(header, None), checks_version(header, expand(header, PATH, Lines(None)))

    assert versions("null: ['']; extra: hold", "csv") == versions("", "csv")
    found = [versions(words, "json") for words in ("whole: w", "whole: w; extra: hold", "whole: w; null: ['']", "")]
    assert len(set(found)) == 4
    assert found[0][1] != found[1][1], "whether it holds is a matter of the checks"


def test_json_is_in_no_grain_and_in_no_check_but_not_null() -> None:
    message = "'v' is json, of which PostgreSQL compares no values: declare jsonb, or take it out"
    for word in ("unique: {v: [v]}", "accepted_values: {v: [a]}", "foreign_key: {v: raw.other.v}"):
        with pytest.raises(ModelError, match=message):
            split(PATH, FILE.format(source="", type="json", column="").replace("@end", f"checks: {{{word}}}\n@end"))
    with pytest.raises(ModelError, match=message):
        split(PATH, FILE.format(source="", type="json", column="").replace("grain: [k]", "grain: [k, v]"))
    split(PATH, FILE.format(source="", type="json", column="").replace("@end", "checks: {not_null: [v]}\n@end"))


def test_parquet_has_no_dialect() -> None:
    with pytest.raises(ModelError, match=r"source.delimiter: parquet says by itself how its values are written"):
        load('delimiter: ";"', format_="parquet")
    with pytest.raises(ModelError, match=r"v.format: parquet says by itself how its values are written"):
        load(type_="date", column="format: M/D/YYYY", format_="parquet")


def test_words_of_files_are_for_raw_tables() -> None:
    text = FILE.format(source="", type="text", column=", optional: true")
    text = text[: text.index("source:")] + text[text.index("columns:") :]
    with pytest.raises(ModelError, match=r"columns.v.optional: is for raw tables, whose rows come from files"):
        split(PATH, text)


def test_words_that_add_columns_add_them() -> None:
    header = load("position: record; object_key: origin; extra: keep")
    assert {name: column.type for name, column in header.columns.items()} == {
        "k": "integer",
        "v": "text",
        "record": "bigint",
        "origin": "text",
        "extra_fields": "jsonb",
    }
    assert list(header.delivered) == ["k", "v"]


VALUES = [
    (
        "numeric(10,2)",
        "",
        "decimal: comma, thousands: space",
        {"1 234,5": "1234.5", "1\u00a0234\u202f567,89": "1234567.89"},
    ),
    ("numeric(8,2)", "", "thousands: apostrophe", {"1'234.50": "1234.50", "1\u2019234": "1234", "12'34": None}),
    ("bigint", "", "thousands: point", {"1.234.567": "1234567", "1.5": None, "1234": "1234"}),
    (
        "numeric(8,2)",
        "",
        "round: half_even",
        {"0.125": "0.12", "0.135": "0.14", "-2.345": "-2.34", "1": "1", "1e3": None},
    ),
    ("real", "", "allow: [nan]", {"NaN": "NaN", "nan": "nan", "inf": None, "1.5": "1.5"}),
    ("double precision", "", "allow: [infinity]", {"-Infinity": "-Infinity", "inf": "inf", "NaN": None}),
    ("boolean", "true: [ja, J]; false: [nein]", "", {"ja": "true", "J": "true", "nein": "false", "true": None}),
    ("date", "", "format: DD-MON-YY", {"07-Jan-69": "1969-01-07", "07-JAN-68": "2068-01-07", "07-Foo-25": None}),
    ("date", "", "format: YYYYMMDD", {"20250107": "2025-01-07", "20250230": None, "2025107": None}),
    (
        "timestamp without time zone",
        "",
        "format: 'D.M.YYYY H:MI:SS,F'",
        {
            "7.1.2025 9:05:00": "2025-01-07 09:05:00",
            "7.1.2025 9:05:00,25": "2025-01-07 09:05:00.250000",
            "7.1.2025 9:05": None,
        },
    ),
    (
        "timestamp without time zone",
        "",
        "format: epoch_ms",
        {
            "0": "1970-01-01 00:00:00",
            "1736240700123": "2025-01-07 09:05:00.123000",
            "1.0001": None,
            "253402300799999": "9999-12-31 23:59:59.999000",
            "253402300800000": None,
        },
    ),
    (
        "timestamp with time zone",
        "",
        "format: epoch",
        {"-1": "1969-12-31 23:59:59Z", "253402300799": "9999-12-31 23:59:59Z", "253402300800": None, "1e9": None},
    ),
    (
        "timestamp with time zone",
        "time_zone: Europe/Berlin",
        "",
        {
            "2025-01-07 10:00:00": "2025-01-07 10:00:00+01:00",
            "2025-07-07T10:00:00.5": "2025-07-07T10:00:00.5+02:00",
            "2025-01-07 10:00:00Z": "2025-01-07 10:00:00Z",
            "2025-03-30 02:30:00": None,
            "2025-10-26 02:30:00": None,
            "2025-03-30 01:59:59": "2025-03-30 01:59:59+01:00",
            "2025-03-30 03:00:00": "2025-03-30 03:00:00+02:00",
            "2025-10-26 01:59:59": "2025-10-26 01:59:59+02:00",
            "2025-10-26 03:00:00": "2025-10-26 03:00:00+01:00",
            "1890-01-01 00:00:00": "1890-01-01 00:00:00+00:53:28",
        },
    ),
    (
        "timestamp with time zone",
        "time_zone: Australia/Lord_Howe",
        "",
        {"2025-04-06 01:45:00": None, "2025-10-05 02:15:00": None},
    ),
    (
        "timestamp with time zone",
        "",
        "format: 'YYYY/MM/DD HH:MI Z'",
        {"2025/01/07 10:00 +0530": "2025-01-07 10:00:00+0530"},
    ),
]


@pytest.mark.parametrize(("type_", "source", "column", "texts"), VALUES)
def test_a_value_is_read_as_its_words_say_or_refused(
    type_: str, source: str, column: str, texts: dict[str, str | None]
) -> None:
    header = load(source, type_, column)
    assert header.source is not None
    form = dialect_of(header.source, header.delivered).fields[1].form
    for text, value in texts.items():
        if value is None:
            with pytest.raises(RefusedError):
                form.read(text)
        else:
            assert form.read(text) == value


def test_times_of_twelve_hours_are_read() -> None:
    form = form_of("time without time zone", Notation(format="HH12:MI AM"))
    assert [form.read(text) for text in ("12:05 am", "12:05 PM", "1:00 PM")] == ["00:05:00", "12:05:00", "13:00:00"]
    assert form.problem("13:00 PM")
