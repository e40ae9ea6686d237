"""A column of JSON values is written for COPY only if every value is in the form of its type."""

from typing import Any

import pytest

from kpi_assets.model.written import Form, Notation, form_of
from kpi_assets.sources.formats.base import UnprovenError
from kpi_assets.sources.formats.json import columns
from kpi_assets.sources.formats.json.columns import Writer, writer_of
from kpi_assets.sources.formats.json.layout import Filled
from kpi_assets.sources.formats.json.value import Number


def writer(type_: str, **notation: Any) -> Writer:
    form: Form = form_of(type_, Notation(**{"null": (), **notation}))
    decimal = "," if notation.get("decimal") == "comma" else "."
    return writer_of(Filled("c", "c", form, decimal, ("N", "Y") if "true" in notation else ("false", "true")))


WRITTEN: list[tuple[str, dict[str, Any], list[Any], list[str]]] = [
    ("integer", {}, ["1", None, "-2", "1"], ["1", r"\N", "-2", "1"]),
    ("numeric(8,2)", {}, ["1.50", ".5", "1.500"], ["1.50", ".5", "1.500"]),
    ("numeric(8,2)", {"round": "half_even"}, ["1.505", "1.50"], ["1.50", "1.50"]),
    ("boolean", {}, [True, False, "true", None], ["true", "false", "true", r"\N"]),
    ("boolean", {"true": ("Y",), "false": ("N",)}, [True, "N", None], ["true", "false", r"\N"]),
    ("date", {"format": "D.M.YYYY"}, ["1.2.2025", None], ["2025-02-01", r"\N"]),
    ("text", {}, ["a", "", None, True, "\\N"], ["a", "", r"\N", "true", r"\\N"]),
    ("text", {}, ["a\tb", "c\r\nd", "e\\"], [r"a\tb", r"c\r\nd", "e\\\\"]),
    *(
        ("text", {}, ["a", f"b{raw}c"], ["a", f"b{made}c"])
        for raw, made in zip("\\\t\n\r", (r"\\", r"\t", r"\n", r"\r"), strict=True)
    ),
    ("text", {}, [None, None], [r"\N", r"\N"]),
    ("text", {"null": ("NA", "")}, ["NA", "", "a\nb"], [r"\N", r"\N", r"a\nb"]),
    ("integer[]", {}, ["{1,2}", None], ["{1,2}", r"\N"]),
    ("text[]", {}, ['{"a\\"b"}'], [r'{"a\\"b"}']),
    ("numeric", {"decimal": "comma", "thousands": "point"}, [Number("1.500"), "1.500,5"], ["1.500", "1500.5"]),
]


@pytest.mark.parametrize(("type_", "notation", "values", "texts"), WRITTEN)
def test_values_are_written_as_copy_reads_them(
    type_: str, notation: dict[str, Any], values: list[Any], texts: list[str]
) -> None:
    write = writer(type_, **notation)
    assert write(values) == texts
    assert write(values) == texts, "what is known already is written in the same way"


REFUSED: list[tuple[str, Any]] = [
    ("integer", "0x1F"),
    ("integer", "1_000"),
    ("integer", "+5"),
    ("integer", "1\n2"),
    ("integer", " 5"),
    ("integer", True),
    ("integer", [1]),
    ("numeric(8,2)", "1.505"),
    ("numeric(8,2)", "1e2"),
    ("date", "today"),
    ("date", "2025-01-01\n2025-01-02"),
    ("boolean", "yes"),
    ("text", {"a": "b"}),
    ("character varying(5)", "a "),
    ("integer[]", "{1, 2}"),
    ("timestamp with time zone", "2025-01-01 10:00:00"),
]


@pytest.mark.parametrize("before", [0, 3, 3000])
@pytest.mark.parametrize(("type_", "value"), REFUSED)
def test_a_value_in_another_form_is_refused_whatever_came_before(type_: str, value: Any, before: int) -> None:
    write = writer(type_)
    good = {"boolean": "true", "date": "2025-01-{:02}", "timestamp with time zone": "2025-01-01 10:00:{:02}Z"}
    for start in range(0, before, 500):
        numbers = range(start, min(start + 500, before))
        write(
            [
                good.get(type_, "{{{}}}" if type_ == "integer[]" else "{}").format(n % 28 + 1 if type_ in good else n)
                for n in numbers
            ]
        )
    with pytest.raises(UnprovenError):
        write([value])


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_MOST_KNOWN", 100)
    for type_, notation in (("integer", {}), ("date", {"format": "epoch"})):
        write = writer("timestamp without time zone" if notation else type_, **notation)
        for start in range(0, 5_000, 50):
            values = [str(number) for number in range(start, start + 50)] * 3
            assert len(write(values)) == 150
        with pytest.raises(UnprovenError):
            write(["0x1F"])
