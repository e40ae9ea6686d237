"""A format that COPY reads by itself is read by Postgres as by the converter, and by no other DateStyle's rule."""

import re
from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.model.date_format import DATE, LOCAL, TIME, DateFormat
from kpi_assets.model.written import Form, Notation, RefusedError, form_of

DATES = [
    *("YYYY-MM-DD", "YYYY-M-D", "YYYY/MM/DD", "YYYY/M/D", "YYYYMMDD", "M/D/YYYY", "MM/DD/YYYY", "M-D-YYYY"),
    *("D/M/YYYY", "DD-MM-YYYY", "D.M.YYYY", "DD.MM.YYYY", "DD-MON-YYYY", "D MON YYYY"),
]
DAYS = [
    *(("0001", "1", "2"), ("2025", "1", "7"), ("2024", "2", "29"), ("2025", "2", "29"), ("9999", "12", "31")),
    ("0000", "5", "5"),
]
NAMES = ["", "Jan", "FEB", "mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "dec"]
CLOCKS = {
    "": [""],
    " H:MI": [" 0:05", " 23:59", " 09:30"],
    " HH:MI:SS": [" 00:00:00", " 23:59:59"],
    " HH:MI:SS.F": [" 00:00:00", " 23:59:59.5", " 01:02:03.123456", " 01:02:03.1234560"],
    " HH12:MI AM": [" 12:30 AM", " 12:30 pm", " 1:05 PM"],
    " HH12:MI:SS.F AM": [" 12:00:00 AM", " 11:59:59.25 pm"],
}
STYLES = ["ISO, MDY", "ISO, DMY", "ISO, YMD"]


def day_of(format_: str, year: str, month: str, day: str) -> str:
    """Return a date as a format writes it."""
    parts = {"YYYY": year, "MON": NAMES[int(month)], "MM": f"{int(month):02}", "DD": f"{int(day):02}"}
    return re.sub("YYYY|MON|MM|DD|M|D", lambda found: {**parts, "M": month, "D": day}[found[0]], format_)


def by_postgres(session: Connection[Any], type_: str, style: str, texts: list[str]) -> list[str | None]:
    """Return what Postgres reads each text as under a DateStyle; None if it is no value."""
    session.execute("select set_config('DateStyle', %s, true)", [style])
    rows = session.execute(
        f"select case when pg_input_is_valid(t, '{type_}') then to_char(t::{type_}, 'YYYY-MM-DD HH24:MI:SS.US') end "
        "from unnest(%s::text[]) with ordinality as texts (t, number) order by number",
        [texts],
    ).fetchall()
    return [value for (value,) in rows]


def converted(form: Form, text: str) -> str:
    """Return a text as the converter makes it, or one that is no value."""
    try:
        return form.read(text)
    except RefusedError:
        return "no value"


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("format_", DATES)
def test_postgres_reads_a_format_as_the_converter_does(session: Connection[Any], format_: str, clock: str) -> None:
    type_ = LOCAL if clock else DATE
    declared = DateFormat(format_ + clock, type_)
    assert declared.problem == ""
    style = declared.date_style
    assert style is not None
    form = form_of(type_, Notation(format=declared.text))
    texts = [day_of(format_, *day) + time for day in DAYS for time in CLOCKS[clock]]
    values = by_postgres(session, type_, "ISO, YMD", [converted(form, text) for text in texts])
    assert None in values, "29 February 2025"
    for each in [style] if style else STYLES:
        assert by_postgres(session, type_, each, texts) == values


def test_times_of_day_are_read_by_postgres_as_by_the_converter(session: Connection[Any]) -> None:
    half = ("HH12:MI AM", "12:05 am"), ("HH12:MI AM", "12:00 PM")
    for clock, text in (("H:MI", "9:05"), ("HH:MI:SS.F", "23:59:59.5"), *half):
        declared = DateFormat(clock, TIME)
        assert declared.date_style == ""
        row = session.execute("select %s::time = %s::time", [text, declared.read(text)]).fetchone()
        assert row == (True,)
