"""The words of a source: where the object of a raw table lies, and how it is written.

Not here: the objects themselves (sources/).
"""

import codecs
import re
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from kpi_assets.model.affects import Affects
from kpi_assets.model.api import Call
from kpi_assets.model.calendar import EVERY_MEANING, EXCEPT_MEANING, Every, Except, described, parse_date
from kpi_assets.model.field_types import Strictness
from kpi_assets.model.format_kinds import (
    DOCUMENT_WORDS,
    FORMAT_KINDS,
    JSON,
    NAMED_WORDS,
    STREAM_KINDS,
    FormatKind,
)
from kpi_assets.model.names import Identifier
from kpi_assets.model.object_key import ObjectKey
from kpi_assets.model.sentences import Loc, listed, refuse, shown
from kpi_assets.model.strict_yaml import Strict
from kpi_assets.model.time_zone import is_zone

_ABSENT = object()
_ALL = Affects.ROWS | Affects.CHECKS | Affects.OBJECT
_READ = Affects.ROWS | Affects.OBJECT  # how the bytes are read
STREAM_FOLDER = "load_date={load_date}/"  # ends `object` of a stream: what landing and growing both go by
_OF_STREAM = {"stream", "object", "format", "since"}  # the words of a source that is a stream
# Codecs of Python that are no encodings of text files, or that hold characters which no file has.
_NO_ENCODINGS = {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "mbcs", "oem", "palmos"}


def _one_character(value: str) -> str:
    if value == "":
        raise ValueError('it is empty: write the character in quotes, as in "|" or "#"')
    if len(value) > 1 or not value.isascii() or value.isalnum() or value in "\r\n":
        raise ValueError(f"{shown(value)} is not one character: write one of ASCII that is no letter and no digit")
    return value


def _is_delimiter(value: str) -> str:
    value = "\t" if value == "tab" else value
    if value in (".", "-", "\\"):
        raise ValueError(f"{shown(value)} cannot separate values: write another character, or tab")
    return _one_character(value)


def _is_quote(value: str) -> str:
    return value if value == "none" else _one_character(value)


def _is_escape(value: str | None) -> str | None:
    return value if value is None else _one_character(value)


_is_comment = _is_escape


def _is_encoding(value: str) -> str:
    try:
        found = codecs.lookup(value)
    except (LookupError, ValueError):
        found = None
    if found is None or not found._is_text_encoding or found.name.replace("_", "-") in _NO_ENCODINGS:
        raise ValueError(f"{shown(value)} is not an encoding that Python knows: write utf-8, utf-16, cp1252 or another")
    return "utf-8" if found.name == "utf-8-sig" else found.name


def is_time_zone(value: str) -> str:
    """Return the name of a time zone. Raises ValueError for any other text."""
    if not is_zone(value):
        raise ValueError(f"{shown(value)} is not a time zone: write a name of IANA, such as Europe/Berlin or UTC")
    return value


def is_each_once(value: list[str]) -> list[str]:
    """Return a list of texts. Raises ValueError if one is in it twice or cannot be in a field."""
    if len(set(value)) < len(value):
        raise ValueError("a text is in it twice: take it out once")
    if any(set(text) & set("\r\n") for text in value):
        raise ValueError("a text has a line end, and a value without quotes has none: take it out")
    return value


Texts = Annotated[list[str], AfterValidator(is_each_once)]
Decimal = Literal["point", "comma"]
Thousands = Literal["point", "comma", "space", "apostrophe"]
TimeZone = Annotated[str, AfterValidator(is_time_zone)]


def _is_format(value: str) -> str:
    known = {**FORMAT_KINDS, **STREAM_KINDS}
    if value not in known:
        raise ValueError(f"{shown(value)} is not known here: write {listed(known)}")
    return value


def _is_stream(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", value):
        raise ValueError(
            f"{shown(value)} is no name of a stream: write up to 128 letters, digits, ., _ and -, a letter or digit "
            "first"
        )
    return value


class Complete(Strict):
    """When all objects of a load_date are there, for a source with several: by one of these words."""

    objects: Annotated[int | None, Affects.OBJECT] = Field(
        default=None, ge=1, le=10_000, description="When there are so many. If there are more, the load_date is held."
    )
    marker: Annotated[str | None, Affects.OBJECT] = Field(
        default=None,
        description="When an object of this key is there, which is written last. It is never read as data.",
    )
    settled_minutes: Annotated[int | None, Affects.OBJECT] = Field(
        default=None, ge=1, le=1440, description="When the newest of them has been there for so many minutes."
    )

    @model_validator(mode="after")
    def _has_one_word(self) -> "Complete":
        if len(self.model_fields_set) != 1:
            raise ValueError(
                "takes one word: write {objects: 4}, {marker: 'raw/x/{load_date}/_SUCCESS'} or {settled_minutes: 15}"
            )
        return self


class Source(Strict):
    """Where a raw table's rows come from."""

    object: Annotated[str, _ALL] = Field(
        description="The key of the S3 object, with `{load_date}` where the date stands as YYYY-MM-DD, or "
        "`{load_date:FORM}` where it stands in another form, such as `%Y/%m/%d`; as often as it stands there. `*` and "
        "`?` behind the last slash stand for any characters and any one character: then a load_date has several "
        "objects, which are read as one table. A key without a load_date is a reference object, which is overwritten "
        "from time to time.",
        examples=["object: raw/orders/load_date={load_date}/orders.csv"],
    )
    stream: Annotated[str | None, AfterValidator(_is_stream), Affects.ROWS | Affects.CHECKS] = Field(
        default=None,
        description="The stream whose events are the rows, by its name at the broker: a topic of Kafka or Event "
        "Hubs, or a stream of Kinesis. kpi_assets lands them itself, and the load_date of an event is the day in UTC "
        "on which the broker took it. Then `object` is a folder: its key ends with `load_date={load_date}/`. The table "
        "grows, and has the columns `stream_partition`, `stream_position`, `received_at`, `unexpected` (the fields of "
        "the event that are no column) and `batch` without declaring them.",
        examples=["stream: clicks"],
    )
    api: Annotated[Identifier | None, Affects.NOTHING] = Field(
        default=None,
        description="The API, by its name in `apis` of pipeline.yaml, that is asked for the object once its load_date "
        "is over, if the object is not there. `call` belongs to it. What is there is not asked for again.",
        examples=["api: shop"],
    )
    call: Annotated[Call | None, Affects.NOTHING] = Field(
        default=None,
        description="What is asked of the API. `records` of the source says where an answer has its records.",
    )
    complete: Annotated[Complete | None, Affects.OBJECT] = Field(
        default=None,
        description="For a source with several objects a load_date: when all of them are there. Without this word one "
        "object is enough, so a load_date may be built before the others come.",
    )
    format: Annotated[str, AfterValidator(_is_format), _ALL] = Field(
        description="How the object is written.", examples=["format: csv"]
    )
    ends_with_line_end: Annotated[Strictness, Affects.CHECKS | Affects.OBJECT] = Field(
        default="warn",
        description="What a missing line end at the end of the object does: the last record may be cut off. If the "
        "object also has fewer bytes than the one of the latest earlier load_date, `warn` holds too.",
    )
    same_bytes: Annotated[Strictness, Affects.CHECKS] = Field(
        default="warn",
        description="What an object does whose bytes are those of another object that was delivered before.",
    )
    every: Annotated[Every, Affects.NOTHING] = Field(
        default="day", description=f"On which load_dates an object comes. {EVERY_MEANING}", examples=["every: monday"]
    )
    except_: Annotated[Except, Affects.NOTHING] = Field(
        default=[], alias="except", description=EXCEPT_MEANING, examples=["except: [2025-12-25, 2026-01-01]"]
    )
    since: Annotated[date | None, Affects.NOTHING] = Field(
        default=None,
        description="The first load_date that has an object, for a source that came later than the pipeline.",
        examples=["since: 2025-07-01"],
    )
    optional: Annotated[bool, Affects.NOTHING] = Field(
        default=False,
        description="Whether the object may be absent on a load_date on which it is due. Then the table is published "
        "without rows, and `min_rows` does not hold it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _budget_is_a_word_of_the_header(cls, values: Any) -> Any:
        if isinstance(values, dict) and (budget := values.get("quarantine_budget", _ABSENT)) is not _ABSENT:
            instead = f"quarantine: {{rows: {budget}}}"
            refuse([(("quarantine_budget",), f"it is a word of the header now: write `{instead}` beside source")])
        return values

    carried_days: Annotated[int | None, Affects.NOTHING] = Field(
        default=None,
        ge=1,
        le=366,
        description="For how many days an object is read again. Then the table is due on each load_date of the "
        "pipeline, and reads the latest object that has landed and was due on the load_date or at most so many days "
        "before it.",
        examples=["carried_days: 13"],
    )

    @property
    def calendar_text(self) -> str:
        """When an object comes, as a part of a sentence."""
        return described(self.every, self.except_, self.since)

    @field_validator("since", mode="before")
    @classmethod
    def _is_a_date(cls, value: Any) -> date:
        return parse_date(str(value))

    delimiter: Annotated[str, AfterValidator(_is_delimiter), _READ] = Field(
        default=",",
        description="The character between two values, or `tab`.",
        examples=['delimiter: ";"'],
    )
    quote: Annotated[str, AfterValidator(_is_quote), _READ] = Field(
        default='"',
        description="The character around a value that holds delimiters or line ends, or `none`: then no value does.",
        examples=["quote: none"],
    )
    escape: Annotated[str | None, AfterValidator(_is_escape), _READ] = Field(
        default=None,
        description="The character before a quote within a value in quotes, and before itself there. Without this "
        "word, a quote within a value is doubled.",
        examples=['escape: "\\\\"'],
    )
    header: Annotated[bool, _READ] = Field(
        default=True,
        strict=True,
        description="Whether the first record names the fields. With `false` the fields are the columns, in order.",
    )
    skip_lines: Annotated[int, _READ] = Field(
        default=0, ge=0, le=1000, description="Lines before the header, or before the first record."
    )
    comment: Annotated[str | None, AfterValidator(_is_comment), _READ] = Field(
        default=None,
        description="A line that begins with this character is no record.",
        examples=['comment: "#"'],
    )
    encoding: Annotated[str, AfterValidator(_is_encoding), _READ] = Field(
        default="utf-8",
        description="The encoding of the text, by one of its names in Python. UTF-8 may begin with a byte order mark.",
        examples=["encoding: cp1252"],
    )
    compression: Annotated[Literal["gzip", "zip", "zstd"] | None, _READ] = Field(
        default=None,
        description="How the object is packed. A zip file holds one file.",
        examples=["compression: gzip"],
    )
    null: Annotated[Texts | None, Affects.ROWS] = Field(
        default=None,
        description="The values without quotes that are NULL. Without this word, the empty value is. In JSON: the "
        "texts that are NULL, besides null itself; without this word, none.",
        examples=['null: ["", NA, "NULL"]'],
    )
    decimal: Annotated[Decimal, Affects.ROWS] = Field(
        default="point", description="The character before the decimals of a number.", examples=["decimal: comma"]
    )
    thousands: Annotated[Thousands | None, Affects.ROWS] = Field(
        default=None,
        description="The character that may group the digits of a number by three.",
        examples=["thousands: point"],
    )
    true: Annotated[Texts | None, Affects.ROWS] = Field(
        default=None,
        description="The values of boolean columns that are true, instead of `true` and `t`; `false` belongs to it.",
        examples=['true: ["Y", "1"]'],
    )
    false: Annotated[Texts | None, Affects.ROWS] = Field(
        default=None, description="The values of boolean columns that are false.", examples=['false: ["N", "0"]']
    )
    time_zone: Annotated[TimeZone | None, Affects.ROWS] = Field(
        default=None,
        description="The time zone of values without an offset, in columns of type `timestamp with time zone`. A local "
        "time that occurred twice or never, because clocks were changed, is set aside.",
        examples=["time_zone: Europe/Berlin"],
    )
    records: Annotated[str | None, Affects.ROWS] = Field(
        default=None,
        min_length=1,
        description="For JSON: the field that has the list of records, if each document is an object around it, as the "
        "pages of an API are.",
        examples=["records: data"],
    )
    whole: Annotated[Identifier | None, Affects.ROWS] = Field(
        default=None,
        description="For JSON: the name of a column of type json that this word adds: the whole record, letter by "
        "letter.",
        examples=["whole: raw_data"],
    )
    extra: Annotated[Literal["hold", "ignore", "keep"] | None, _READ] = Field(
        default=None,
        description="What fields do that are no column: `hold` holds the load_date, `ignore` leaves them out, and "
        "`keep` collects them in the column `extra_fields`, which this word adds: a JSON object of texts, or NULL if "
        "there are none. Without this word they hold the load_date; with `whole` they are kept there, and the check "
        "`fields_known` warns of them.",
    )
    position: Annotated[Identifier | None, Affects.ROWS] = Field(
        default=None,
        description="The name of a column that this word adds: the number of the record in its object, from 1.",
        examples=["position: record_number"],
    )
    object_key: Annotated[Identifier | None, Affects.ROWS] = Field(
        default=None,
        description="The name of a column that this word adds: the key of the object that the row comes from.",
        examples=["object_key: object_key"],
    )

    @property
    def key(self) -> ObjectKey:
        """The word `object`, for filling in a load_date and reading it back; of a stream without its last slash."""
        return ObjectKey.parse(self.object.removesuffix("/") if self.stream else self.object, self._only_word)

    @property
    def format_kind(self) -> FormatKind:
        """The traits of the word `format`."""
        return {**FORMAT_KINDS, **STREAM_KINDS}[self.format]

    @property
    def marker_key(self) -> ObjectKey | None:
        """The key of the marker object, of a source that has one."""
        return (
            ObjectKey.parse(self.complete.marker, self._only_word) if self.complete and self.complete.marker else None
        )

    @property
    def _only_word(self) -> str:
        """The word of `every`; empty for a list of several."""
        words = [self.every] if isinstance(self.every, str) else self.every
        return words[0] if len(words) == 1 else ""

    @property
    def null_texts(self) -> tuple[str, ...]:
        """The texts that are NULL: those of the word `null`, or those of the format."""
        if self.null is None:
            return () if self.format in (JSON.name, *STREAM_KINDS) else ("",)
        return tuple(self.null)

    @property
    def unknown_fields(self) -> Literal["hold", "ignore", "keep", "warn"]:
        """What fields do that are no column: the word `extra`, or what is meant without it."""
        return self.extra or ("warn" if self.whole else "hold")

    @property
    def origins(self) -> list[str]:
        """The words that add a column for the origin of a row: `position`, `object_key` or both."""
        return [word for word in ("position", "object_key") if getattr(self, word)]

    @property
    def origin_columns(self) -> list[str]:
        """The columns that these words add."""
        return [getattr(self, word) for word in self.origins]

    @field_validator("null", "extra")
    @classmethod
    def _is_said(cls, value: Any, info: ValidationInfo) -> Any:
        """Return None for what is meant without the word too, so that saying it changes no version."""
        usual: Any = [""] if info.field_name == "null" else "hold"
        return None if value == usual and info.data.get("format") != JSON.name else value

    @model_validator(mode="after")
    def _makes_sense(self) -> "Source":
        refuse(self._key_problems())
        refuse(
            [
                *self._object_problems(),
                *self._stream_problems(),
                *self._format_problems(),
                *self._character_problems(),
                *self._word_problems(),
            ]
        )
        return self

    def _key_problems(self) -> Iterator[tuple[Loc, str]]:
        """Yield why the keys cannot be read: what they tell depends on `every`."""
        own = self.object.removesuffix("/") if self.stream else self.object
        for loc, text in ((("object",), own), (("complete", "marker"), self.complete and self.complete.marker)):
            try:
                key = ObjectKey.parse(text, self._only_word) if text is not None else None
            except ValueError as error:
                yield loc, str(error)
                continue
            if key and loc == ("complete", "marker") and (key.is_pattern or key.is_reference):
                yield (
                    loc,
                    f"{shown(key.text)} is not the key of one object a load_date: write it with {{load_date}}, and "
                    "without * and ?",
                )

    def _object_problems(self) -> Iterator[tuple[Loc, str]]:
        if self.complete and not self.key.is_pattern:
            yield (
                ("complete",),
                "is for several objects a load_date: write * or ? in the last part of object, or take it out",
            )
        yield from self._api_problems()
        if self.carried_days and self.key.is_reference:
            yield ("carried_days",), "is for objects of a load_date, and this one is there for all: take it out"
        if self.carried_days and self.optional:
            yield ("carried_days",), "says what is read where an object is absent: take it out, or take optional out"
        if self.key.is_reference and "same_bytes" in self.model_fields_set:
            yield (
                ("same_bytes",),
                "is for objects of a load_date, and this one is there for all load_dates: take it out",
            )

    def _stream_problems(self) -> Iterator[tuple[Loc, str]]:
        """Yield the words that a stream, which has many objects of its own form every day, cannot have."""
        is_of_stream = self.format in STREAM_KINDS
        if self.stream is None:
            if is_of_stream:
                yield ("format",), f"{self.format} is what `kpi stream` writes: name the stream, or correct format"
            return
        if not is_of_stream:
            yield ("format",), f"the events of a stream are landed as {listed(STREAM_KINDS)}: write that"
        folder = self.object.removesuffix(STREAM_FOLDER)
        if folder == self.object or self.key.is_pattern or "{" in folder or not folder.endswith("/"):
            yield (
                ("object",),
                f"the objects of a stream lie in a folder of each load_date: end it with {STREAM_FOLDER}, without *, ? "
                "and { before, as in raw/clicks/load_date={load_date}/",
            )
        for word in sorted(self.model_fields_set - _OF_STREAM):
            if word not in NAMED_WORDS:  # _format_problems refuses these
                name = type(self).model_fields[word].alias or word
                yield (name,), "is for objects that somebody delivers, and those of a stream we write: take it out"

    def _api_problems(self) -> Iterator[tuple[Loc, str]]:
        """Yield why an API cannot give the object."""
        if (self.api is None) != (self.call is None):
            word, other = ("api", "call") if self.call is None else ("call", "api")
            yield (word,), f"it needs the word {other} beside it: write both"
        if self.api is None:
            return
        if self.format != JSON.name:
            yield ("format",), "an API answers in JSON: write format: json"
        if self.key.is_pattern or self.key.is_reference:
            yield ("object",), "what an API answers is one object a load_date: write {load_date} in it, without * and ?"
        if self.call and self.records is None:
            said: dict[Loc, str | None] = {("call", "total"): self.call.total}
            if self.call.pages:
                said["call", "pages", "following"] = self.call.pages.following
            for loc in (loc for loc, place in said.items() if place):
                yield (
                    loc,
                    "without records an answer is an array, which says nothing else: name the field of its list in "
                    "records, or take this out",
                )
        for word, is_there in (("optional", self.optional), ("compression", self.compression)):
            if is_there:
                yield (word,), "an API is asked for every load_date, and answers in plain JSON: take it out"

    def _format_problems(self) -> Iterator[tuple[Loc, str]]:
        kind = self.format_kind
        for word in NAMED_WORDS:
            if word in kind.words or getattr(self, word) == type(self).model_fields[word].default:
                continue
            if word in DOCUMENT_WORDS:
                yield (word,), "is for json: take it out, or correct format"
            elif kind.has_written_values:
                yield (word,), f"{self.format} has no such word: take it out, or correct format"
            else:
                yield (word,), f"{self.format} says by itself how its values are written: take the word out"

    def _character_problems(self) -> Iterator[tuple[Loc, str]]:
        named = {"delimiter": self.delimiter, "quote": self.quote, "comment": self.comment}
        for word, other in (("quote", "delimiter"), ("comment", "delimiter"), ("comment", "quote")):
            if named[word] == named[other]:
                yield (word,), f"it is the {other} too: one character cannot be both"
        if self.escape is not None:
            if self.quote == "none":
                yield ("escape",), "it is for values in quotes, and there are none: take it out, or correct quote"
            if self.escape == self.quote:
                yield ("escape",), "it is the quote, which is doubled within a value without this word: take it out"
            if self.escape in (self.delimiter, self.comment):
                yield ("escape",), "it is the delimiter or the comment too: one character cannot be both"
        if self.thousands == self.decimal:
            yield ("thousands",), f"{self.thousands} stands before the decimals: write another, or correct decimal"

    def _word_problems(self) -> Iterator[tuple[Loc, str]]:
        yield from boolean_problems(self.true, self.false, list(self.null_texts))
        if not self.header and self.extra is not None:
            yield ("extra",), "without a header no field has a name: take it out, or write header: true"
        if self.compression and self.ends_with_line_end == "hold":
            yield ("ends_with_line_end",), "the end of a packed object is not known before it is loaded: take it out"
        adding = [word for word in ("position", "object_key", "whole") if getattr(self, word)]
        for number, word in enumerate(adding):
            other = next((each for each in adding[:number] if getattr(self, each) == getattr(self, word)), None)
            if other:
                yield (word,), f"it is the column of {other} too: give it another name"


def boolean_problems(
    true: list[str] | None, false: list[str] | None, null: list[str] | None
) -> Iterator[tuple[Loc, str]]:
    """Yield what is wrong with the texts of booleans."""
    if (true is None) != (false is None):
        word, other = ("true", "false") if false is None else ("false", "true")
        yield (word,), f"it says nothing about {other}: write the texts of both words"
    for word, texts in (("true", true), ("false", false)):
        if both := sorted(set(texts or ()) & set(null or ())):
            yield (word,), f"{both[0]!r} is NULL too, by the word null: one text cannot be both"
    if both := sorted(set(true or ()) & set(false or ())):
        yield ("false",), f"{both[0]!r} is true too: one text cannot be both"
