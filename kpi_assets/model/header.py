"""The header of an asset's file: what SQL cannot say about a table.

Belongs here: the words a header may hold and their meaning, and cutting a file into header and body.
Not here: the SELECT (query.py), what a check does (checks.py), the tables around this one (pipeline.py).
"""

import re
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, field_validator, model_validator

from kpi_assets.model.format_kinds import FORMAT_KINDS
from kpi_assets.model.lookback import LONGEST
from kpi_assets.model.names import (
    AS_PUBLISHED,
    IDENTIFIER,
    LOAD_DATE,
    LOW_VOLUME,
    SYSTEM_COLUMNS,
    Identifier,
    Relation,
)
from kpi_assets.model.sentences import Loc, UnknownWordError, listed, nearest, refuse, shown
from kpi_assets.model.slices import KEY_TYPES
from kpi_assets.model.strict_yaml import Lines, ModelError, Strict, read

HEADER = re.compile(r"\A/\* @asset\n(.*?)\n@end \*/(?:\n|\Z)", re.DOTALL)
# An allow-list, since a type becomes part of the CREATE TABLE; spelled as Postgres' catalog does, to compare equal.
TYPE = re.compile(
    r"smallint|integer|bigint|numeric(\(\d+,\d+\))?|real|double precision|boolean|text|date"
    r"|timestamp without time zone|timestamp with time zone|uuid|jsonb"
)
# What other systems, and Postgres, call them besides.
_ALIASES = {
    **dict.fromkeys(("varchar", "char", "character varying", "string", "str"), "text"),
    **dict.fromkeys(("int", "int4", "serial"), "integer"),
    **dict.fromkeys(("int8", "long", "bigserial"), "bigint"),
    **dict.fromkeys(("decimal", "number"), "numeric"),
    **dict.fromkeys(("float", "float8", "double"), "double precision"),
    **dict.fromkeys(("timestamp", "datetime"), "timestamp without time zone"),
    "int2": "smallint",
    "tinyint": "smallint",
    "float4": "real",
    "bool": "boolean",
    "timestamptz": "timestamp with time zone",
    "json": "jsonb",
}
_NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")
_DECIMAL = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")
CHECK_WORDS = ("min_rows", "not_null", "accepted_values", "range", "unique", "foreign_key", "reconcile")

Sentence = Annotated[str, StringConstraints(min_length=4, strip_whitespace=True)]
Expression = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]  # of SQL


def _is_scalar(value: object) -> object:
    if not isinstance(value, (str, bool, int, float)):
        raise ValueError(f"{shown(value)} is no single value: write a text, a number, true or false")
    return value


def _is_owner(value: str) -> str:
    if not re.fullmatch(r"team:[a-z0-9_-]+|[^@\s]+@[^@\s]+\.[^@\s]+", value):
        raise ValueError(f"{shown(value)} is neither a team nor an address: write team:name or name@example.com")
    return value


Value = Annotated[str | bool | int | float, BeforeValidator(_is_scalar)]
Owner = Annotated[str, AfterValidator(_is_owner)]
Strictness = Literal["warn", "hold", "ignore"]  # what comes of a doubt: a warning, a held load_date, nothing


class Column(Strict):
    """One column: its Postgres type and what it means, NULL included."""

    type: str = Field(examples=["type: integer"])
    description: Sentence = Field(examples=["description: Order."])

    @field_validator("type")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if not TYPE.fullmatch(value):
            if "(" in value and ")" not in value:
                raise ValueError(f'{shown(value)} ends at a comma: write the type in quotes, as in "numeric(10,2)"')
            known = TYPE.pattern.replace(r"(\(\d+,\d+\))?", ", numeric(p,s)").replace("|", ", ")
            instead = _ALIASES.get(value.lower().split("(")[0]) or nearest(value, known.split(", "))
            write = f"{instead}, or another of" if instead else "one of"
            raise ValueError(f"{shown(value)} is no column type known here: write {write} {known}")
        return value


def _is_format(value: str) -> str:
    if value not in FORMAT_KINDS:
        raise ValueError(f"{shown(value)} is not known here: write {listed(FORMAT_KINDS)}")
    return value


class Source(Strict):
    """Where a raw table's rows come from."""

    # The key of its S3 object, with {load_date} where the date stands.
    object: str = Field(examples=["object: raw/orders/load_date={load_date}/orders.csv"])
    format: Annotated[str, AfterValidator(_is_format)] = Field(examples=["format: csv"])
    quarantine_budget: Annotated[int, Field(ge=0)] = 0  # rows that may be set aside before the gate holds
    # A last record without a line end may be cut off; in an object that shrank as well it holds with `warn` too.
    ends_with_line_end: Strictness = "warn"
    same_bytes: Strictness = "warn"  # as another object that was delivered before it

    @field_validator("object")
    @classmethod
    def _has_load_date(cls, value: str) -> str:
        if re.findall(r"{(.*?)}", value) != [LOAD_DATE] or value.startswith("/") or ".." in value.split("/"):
            raise ValueError("must be an object's key with {load_date} in it, once: raw/x/load_date={load_date}/x.csv")
        return value


Share = Annotated[float, Field(ge=0, le=1)]


class MinRows(Strict):
    """Fewest rows of a build: absolute, and as a share of what earlier load_dates had; a share of 0 asks for nothing.

    A file's words take the place of the pipeline's `defaults` as a whole: `at_least: 0` alone turns all of it off.
    """

    at_least: Annotated[int, Field(ge=0)] | None = None  # not said: 1 of a raw table or a KPI, else 0
    of_previous: Share = 0.0  # of the rows of the latest earlier load_date
    of_usual: Share = 0.0  # of the median of the rows of the same weekday in the last weeks


class Reconcile(Strict):
    """Accounting against one upstream table: what it has = what is here + what the named rules drop.

    Rows are counted, or with `sum` an expression over the source's rows is added up.
    """

    source: str
    sum: Expression | None = None  # over a row of the source
    here: Expression | None = None  # over a row here, which `sum` is compared with; the same as `sum` if it is not said
    counted: Expression | None = None  # over the whole build, instead of count(*), or of adding up `here`
    dropped: dict[Identifier, str] = {}  # rule -> predicate over the source's rows

    @field_validator("source")
    @classmethod
    def _is_a_table(cls, value: str) -> str:
        return str(Relation.parse(value))

    @model_validator(mode="after")
    def _says_once_what_is_here(self) -> "Reconcile":
        if self.here and not self.sum:
            refuse([(("here",), "is what a sum is compared with: say sum as well, or take it out")])
        if self.here and self.counted:
            refuse([(("here",), "says again what counted says: take one of them out")])
        return self


class CustomCheck(Strict):
    """A query that returns bad rows, where `{this}` is the build that is being audited; or one more reconciliation."""

    bad_rows: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)] | None = None
    reconcile: Reconcile | None = None
    severity: Literal["error", "warn"] = "error"
    description: Sentence | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "CustomCheck":
        if (self.bad_rows is None) == (self.reconcile is None):
            raise ValueError("a check has either bad_rows or reconcile: give one of them")
        return self


def _is_check(value: Any) -> Any:
    # A word that is misspelled is told of with the words of a check.
    if isinstance(value, CustomCheck) or (
        isinstance(value, dict) and any(nearest(word, CustomCheck.model_fields) for word in value)
    ):
        return value
    raise UnknownWordError(CHECK_WORDS, "a check of your own has the word bad_rows or reconcile")


def _is_free(name: str) -> str:
    if name == AS_PUBLISHED:
        raise ValueError("this name is taken by the check that `kpi recheck` makes: give it another")
    return name


CheckName = Annotated[Identifier, AfterValidator(_is_free)]


class Checks(Strict):
    """The built-in words, and under `custom` every other name."""

    min_rows: MinRows | None = None
    not_null: list[str] = []
    accepted_values: dict[str, Annotated[list[Value], Field(min_length=1)]] = {}
    range: dict[str, tuple[Value | None, Value | None]] = {}  # column -> lowest, highest; null where it is open
    unique: dict[Identifier, Annotated[list[str], Field(min_length=1)]] = {}
    foreign_key: dict[str, str] = {}  # column -> schema.table.column
    reconcile: Reconcile | None = None
    custom: dict[CheckName, Annotated[CustomCheck, BeforeValidator(_is_check)]] = {}

    @model_validator(mode="before")
    @classmethod
    def _names_are_custom_checks(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "custom" in values:
            return values
        words = {name: value for name, value in values.items() if name in CHECK_WORDS}
        return {**words, "custom": {name: value for name, value in values.items() if name not in CHECK_WORDS}}

    @field_validator("range", mode="before")
    @classmethod
    def _ranges_have_two_ends(cls, value: Any) -> Any:
        if isinstance(value, dict):
            refuse(
                ((str(column),), "a range is its lowest and its highest value: write [1, 9], and null for an open end")
                for column, ends in value.items()
                if not isinstance(ends, list) or len(ends) != 2
            )
        return value

    @field_validator("range")
    @classmethod
    def _ranges_have_an_end(
        cls, value: dict[str, tuple[Value | None, Value | None]]
    ) -> dict[str, tuple[Value | None, Value | None]]:
        def problem(ends: tuple[Value | None, Value | None]) -> str:
            if ends == (None, None):
                return "both ends are null: give one, or take the range out"
            is_nan = any(end != end for end in ends)  # noqa: PLR0124  which only NaN does
            return "NaN is no end: give a number, or null for an open end" if is_nan else ""

        refuse(((column,), found) for column, ends in value.items() if (found := problem(ends)))
        return value

    @field_validator("foreign_key")
    @classmethod
    def _references_are_columns(cls, value: dict[str, str]) -> dict[str, str]:
        refuse(
            ((column,), f"refers to {shown(reference)}: write schema.table.column")
            for column, reference in value.items()
            if not re.fullmatch(rf"{IDENTIFIER}\.{IDENTIFIER}\.{IDENTIFIER}", reference)
        )
        return value


class Chart(Strict):
    """The picture of a KPI: a bar for each value of `x`, as high as `y`; the `top` highest where there are more."""

    x: str
    y: str
    top: Annotated[int, Field(ge=1, le=40)] = 15


class Kpi(Strict):
    """Makes the table a KPI: readers get a view `<table>_latest`, the UI a chart."""

    chart: Chart = Field(examples=["chart: {x: country, y: revenue}"])


class MinVolume(Strict):
    """What a row of a KPI must rest on to be shown: rows below are kept, marked by is_low_volume, and left out."""

    column: str
    at_least: Annotated[int, Field(ge=1)]


class Lookback(Strict):
    """What the SELECT may read: the load_dates of so many calendar days, its own the last; `lookback: 28` is the same.

    `rows: all` reads every row of them; without it, tables that say `versions: latest` can be read, and no others.
    """

    days: Annotated[int, Field(ge=2, le=LONGEST)]
    rows: Literal["all"] | None = None


class Freshness(Strict):
    """How long ago the latest published load_date of a KPI may have ended, at 24:00 UTC, before the KPI is late."""

    within_hours: Annotated[float, Field(ge=0.02, le=87_840)]  # Dagster looks no closer than at a minute


class Header(Strict):
    """Everything a header may say."""

    description: Sentence = Field(examples=["description: One row per order."])
    owner: Owner = Field(examples=["owner: team:analytics"])
    grain: list[str] = Field(min_length=1, examples=["grain: [order_id]"])
    columns: dict[Identifier, Column] = Field(examples=["columns: {order_id: {type: integer, description: Order.}}"])
    checks: Checks = Checks()
    source: Source | None = None
    # rows: a load_date's rows are replaced inside one table; partitions: it is a partition of its own (big tables);
    # view: it shows columns of one other table as they are, and stores nothing.
    storage: Literal["rows", "partitions", "view"] = "rows"
    lookback: Lookback | None = None
    # Said by a table that others read over a window: its grain names the same thing in every load_date, of which only
    # the latest row counts.
    versions: Literal["latest"] | None = None
    kpi: Kpi | None = None
    min_volume: MinVolume | None = None
    freshness: Freshness | None = None

    @property
    def is_raw(self) -> bool:
        """Whether its rows come from outside: it has a source instead of a SELECT."""
        return self.source is not None

    @property
    def has_object(self) -> bool:
        """Whether its rows are those of one S3 object a load_date."""
        return self.source is not None and bool(self.source.object)

    @property
    def selected(self) -> list[str]:
        """The columns that the SELECT returns: all but the one that min_volume makes of them."""
        return [name for name in self.columns if not (self.min_volume and name == LOW_VOLUME)]

    @field_validator("lookback", mode="before")
    @classmethod
    def _days_alone(cls, value: Any) -> Any:
        return value if value is None or isinstance(value, dict) else {"days": value}

    @model_validator(mode="after")
    def _makes_sense(self) -> "Header":
        refuse([*self._volume_problems(), *self._name_problems(), *self._storage_problems()])
        if volume := self.min_volume:
            below = f"Whether {volume.column} is below {volume.at_least} or unknown"
            self.columns[LOW_VOLUME] = Column(
                type="boolean", description=f"{below}; the view for readers leaves it out."
            )
        refuse(
            (loc, problem)
            for loc, value in self._constants()
            if (problem := _misfit(value, self.columns[str(loc[2])].type))
        )
        return self

    def _volume_problems(self) -> Iterator[tuple[Loc, str]]:
        volume = self.min_volume
        if volume is None:
            return
        if self.kpi is None or self.source or self.storage == "view":
            yield ("min_volume",), "is for a KPI with a SELECT whose rows are stored: take it out"
        if LOW_VOLUME in self.columns:
            yield ("columns", LOW_VOLUME), "min_volume makes this column: take it out"
        if volume.column in self.columns and self.columns[volume.column].type not in KEY_TYPES:
            known = ", ".join(KEY_TYPES)
            yield ("min_volume", "column"), f"{volume.column!r} counts nothing: name a column of type {known}"

    def _name_problems(self) -> Iterator[tuple[Loc, str]]:
        """Columns that cannot be, and words that name columns which are not there."""
        if LOAD_DATE in self.columns:
            yield ("columns", LOAD_DATE), "it is every table's first column already: take it out"
        for column in self.columns:
            if column in SYSTEM_COLUMNS:
                yield ("columns", column), "every table of Postgres has a hidden column of this name: give it another"
        known = {*self.columns, *([LOW_VOLUME] if self.min_volume else [])}
        for loc, column in self._mentions():
            if column not in known:
                yield loc, f"{column!r} is not one of the columns ({', '.join(self.columns)})"
        if len(set(self.grain)) < len(self.grain):
            yield ("grain",), "a column stands there twice: take it out once"

    def _storage_problems(self) -> Iterator[tuple[Loc, str]]:
        """Words that another word of the header forbids."""
        if self.storage == "view" and self.checks != Checks():
            yield ("checks",), "a view shows what its table shows, before any check: put them there"
        if self.storage == "view" and self.versions:
            yield ("versions",), "a view has what its table says: put it there"
        if self.lookback and (self.source or self.storage == "view"):
            kind = "a raw table reads the object of its load_date" if self.source else "a view shows one load_date"
            yield ("lookback",), f"{kind}: look back in a table that has a SELECT and stores it"
        if self.freshness and not self.kpi:
            yield ("freshness",), "is for KPIs: say kpi as well, or take it out"

    def _mentions(self) -> Iterator[tuple[tuple[int | str, ...], str]]:
        """(where, column) of each column that a word speaks of."""
        checks = self.checks
        lists: dict[tuple[str, ...], list[str]] = {("grain",): self.grain, ("checks", "not_null"): checks.not_null}
        lists.update({("checks", "unique", name): columns for name, columns in checks.unique.items()})
        for word, columns in lists.items():
            for number, column in enumerate(columns):
                yield (*word, number), column
        for name in ("accepted_values", "range", "foreign_key"):
            yield from ((("checks", name, column), column) for column in getattr(checks, name))
        if self.kpi:
            yield from ((("kpi", "chart", axis), getattr(self.kpi.chart, axis)) for axis in ("x", "y"))
        if self.min_volume:
            yield ("min_volume", "column"), self.min_volume.column

    def _constants(self) -> Iterator[tuple[tuple[int | str, ...], Value]]:
        """(where, value) of each constant that a column is compared with."""
        for column, values in self.checks.accepted_values.items():
            yield from ((("checks", "accepted_values", column, number), value) for number, value in enumerate(values))
        for column, ends in self.checks.range.items():
            yield from ((("checks", "range", column, n), end) for n, end in enumerate(ends) if end is not None)


def _misfit(value: Value, type_: str) -> str:
    """Why a constant cannot be compared with a column of this type: it is of another kind in YAML; empty if it can."""
    base = type_.split("(", maxsplit=1)[0]
    if base in KEY_TYPES and isinstance(value, float) and not isfinite(value):
        return f"the column is {type_}, which has no infinity: write null for an open end"
    if base in _NUMBERS:
        is_number = not isinstance(value, (str, bool)) or (isinstance(value, str) and _DECIMAL.fullmatch(value))
        return "" if is_number else f"{value!r} is no number, and the column is {type_}: write a plain decimal number"
    if base == "boolean":
        return (
            "" if isinstance(value, bool) else f"{value!r} is not true or false, and the column is boolean: write one"
        )
    if base == "jsonb" or isinstance(value, str):
        return ""
    kind = "true or false" if isinstance(value, bool) else "a number"
    return f"{value!r} is {kind} in YAML, and the column is {type_}: put it in quotes, as it is delivered"


def cut(path: Path, text: str) -> tuple[str, str]:
    """Cut a file into the text of its header and its body, which is all that is ever executed. Raises ModelError.

    Each begins with as many empty lines as stand before it, so that its lines are those of the file.
    """
    match = HEADER.match(text)
    if match is None and text.startswith("/* @asset"):
        raise ModelError(path, 1, "has a header that is not closed: write @end */ in a line of its own below it")
    if match is None:
        raise ModelError(path, 1, "begins with no header: the first line must be /* @asset, and @end */ must close it")
    return "\n" + match.group(1), "\n" * text[: match.end()].count("\n") + text[match.end() :]


def split(path: Path, text: str) -> tuple[Header, Lines, str]:
    """Read a file: its header, the lines of its words, and its body. Raises ModelError."""
    words, body = cut(path, text)
    header, lines = read(Header, words, path)
    return header, lines, body
