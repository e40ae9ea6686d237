"""The parameters of the API: strict types, and a sentence for each that is wrong.

A parameter that an address does not have is refused, and so is one that is given twice: an answer to another question
than the one that was asked is worse than none.

Belongs here: parameters that several addresses have. Not here: filters, order and pages of rows (rows.py).
"""

import re
from collections.abc import Collection
from datetime import date, datetime, timezone
from typing import Annotated

from fastapi import Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BeforeValidator

from kpi_assets.model.sentences import shown
from kpi_assets.surface.answer import Problem

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{3}|\.[0-9]{6})?)?(Z|[+ -][0-9]{2}:[0-9]{2})?"
)


def _day(text: object) -> date:
    try:
        if isinstance(text, str) and _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError("write a day such as 2026-11-24")


def _instant(text: object) -> datetime:
    """Return an instant; without an offset it is UTC. A + that was not encoded has become a blank."""
    try:
        if isinstance(text, str) and _INSTANT.fullmatch(text):
            plain = text[:11] + text[11:].replace(" ", "+").replace("Z", "+00:00")
            found = datetime.fromisoformat(plain)
            return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
    except ValueError:
        pass
    raise ValueError("write an instant such as 2026-11-24T09:00:00Z; without an offset it is UTC")


Day = Annotated[date, BeforeValidator(_day)]
Instant = Annotated[datetime, BeforeValidator(_instant)]

PipelineName = Annotated[str, Path(description="The pipeline.")]
TableName = Annotated[str, Path(description="The KPI: the second part of its `id`.")]
LoadDate = Annotated[Day | None, Query(description="The load_date; by default the latest that is shown.")]
AsOf = Annotated[
    Instant | None, Query(description="What readers were shown at this instant; by default what they are shown now.")
]
MeasureName = Annotated[
    str | None, Query(description="The name of a measure; by default the headline.", max_length=200)
]
First = Annotated[Day | None, Query(alias="from", description="The first load_date.")]
Last = Annotated[Day | None, Query(alias="to", description="The last load_date.")]


def route_name(route: APIRoute) -> str:
    """Return the name by which programs that are made from the OpenAPI document call an address."""
    return route.name


def only_declared(request: Request) -> None:
    """Refuse a parameter that the address does not have, and one that is given twice."""
    refuse_others(request, declared(request))


def declared(request: Request) -> list[str]:
    """Return the names of the parameters that the address of a request declares."""
    return [field.alias for field in request.scope["route"].dependant.query_params]


def refuse_others(request: Request, names: Collection[str], *, repeated: Collection[str] = ()) -> None:
    """Refuse parameters that are not among the names, or that are given twice; `repeated` may be."""
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in names and name not in repeated:
            raise Problem(422, f"There is no parameter {shown(name)}.", _instead([*names, *repeated]))
        if given.count(name) > 1 and name not in repeated:
            raise Problem(422, f"The parameter {name} is given more than once.", "Give it once.")


def _instead(names: Collection[str]) -> str:
    return f"This address has {', '.join(names)}." if names else "This address has no parameters."


def in_time(as_of: datetime | None, now: datetime) -> None:
    """Refuse an instant in the future: nobody knows what readers will be shown."""
    if as_of and as_of > now:
        raise Problem(422, "The parameter as_of lies in the future.", "Leave it out for what readers are shown now.")


def in_order(first: date | None, last: date | None) -> None:
    """Refuse a range that ends before it begins."""
    if first and last and first > last:
        raise Problem(422, "The parameter from is after the parameter to.", "Exchange them.")


def problem_of(error: RequestValidationError) -> Problem:
    """Return the problem of a request whose parameters do not have the types that its address declares."""
    causes = {str(each["loc"][-1]): str(each["msg"]).removeprefix("Value error, ") for each in error.errors()}
    title = f"The parameter {', '.join(causes)} is wrong."
    return Problem(422, title, "; ".join(f"{name}: {cause}" for name, cause in causes.items()) + ".")
