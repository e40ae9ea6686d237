"""Renders the HTML of pages from surface/templates. Everything that is filled in is escaped.

Belongs here: the environment of the templates, and how times, sizes and links are written. Not here: what a page shows
(pages/), and numbers (model/number_format.py).
"""

from collections.abc import Mapping
from datetime import datetime, timezone
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kpi_assets.model import titles
from kpi_assets.model.number_format import write
from kpi_assets.printable import printable
from kpi_assets.read import said
from kpi_assets.surface.draw.lines import short
from kpi_assets.surface.draw.shapes import bar
from kpi_assets.surface.files import code_hash
from kpi_assets.surface.pages.words import BADGES, COLORS, SIGNS, meaning_of

HERE = Path(__file__).parent


def page(name: str, /, **values: Any) -> bytes:
    """Return the page that a template makes of these values."""
    return _environment().get_template(f"{name}.html").render(**values).encode()


def picture(name: str, /, **values: Any) -> bytes:
    """Return the picture that a template makes of these values."""
    return _environment().get_template(f"{name}.svg").render(**values).encode()


def problem_page(status: int, title: str, detail: str = "") -> bytes:
    """Return the page of a problem."""
    return page("problem", status=status, title=title, detail=detail)


def link(path: str, /, **query: object) -> str:
    """Return a path with the words of its query that have a value; `from_` is the word `from`."""
    words = {name.rstrip("_"): value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(words)}" if words else path


def clock(instant: datetime) -> str:
    """Return an instant as `26 Nov 13:19 UTC`, with its year if that is not this year."""
    at = instant.astimezone(timezone.utc)
    year = "" if at.year == datetime.now(timezone.utc).year else f" {at.year}"
    return f"{short(at.date())}{year} {at:%H:%M} UTC"


def clause(text: str) -> str:
    """Return a clause as a sentence begins: its first letter is large."""
    return text[:1].upper() + text[1:]


def name_of(technical: str) -> str:
    """Return a technical name as people read it: `total orders`."""
    return technical.replace("_", " ")


def owner(words: str) -> str:
    """Return an owner as people read it: `team analytics`."""
    return words.replace("team:", "team ")


def count(number: int) -> str:
    """Return a number of things."""
    return write(Decimal(number), "integer")


def things(number: int, one: str, many: str = "") -> str:
    """Return a number of things with their name: `1 check`, `69 checks`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def size(number: int) -> str:
    """Return a number of bytes as people read it."""
    for unit, bytes_ in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)):
        if number >= bytes_:
            return f"{write(Decimal(number) / bytes_, 'decimal1')} {unit}"
    return things(number, "byte")


def ago(instant: datetime) -> Markup:
    """Return an instant that a script turns into `5 min ago`."""
    at = instant.astimezone(timezone.utc)
    return Markup('<time datetime="{}" data-rel>{}</time>').format(at.isoformat(timespec="seconds"), clock(instant))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_shown,
    )
    filters: Mapping[str, Any] = {
        "ago": ago,
        "built_through": said.built_through,
        "clause": clause,
        "clock": clock,
        "count": count,
        "day": titles.day,
        "finality": said.finality,
        "meaning": meaning_of,
        "name": name_of,
        "owner": owner,
        "size": size,
        "things": things,
        "write": write,
    }
    environment.filters.update(filters)
    environment.globals.update(
        link=link, build=code_hash(), things=things, bar=bar, badges=BADGES, colors=COLORS, signs=SIGNS
    )
    return environment


def _shown(value: object) -> object:
    """Return a value without characters that control a page; the lines of a text stay."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return "\n".join(printable(line.replace("\t", "    ")) for line in value.split("\n"))
