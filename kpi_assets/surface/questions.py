"""What the pages and the API of questions have in common: which question is meant, and what a reader gave.

Not here: the answer (read/ask.py), and how it is shown (pages/questions.py, api/questions.py).
"""

from collections.abc import Mapping
from datetime import date

from fastapi import Request

from kpi_assets.model.calendar import parse_date
from kpi_assets.model.names import LOAD_DATE
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.question import Question, WrongParameterError
from kpi_assets.model.sentences import shown
from kpi_assets.surface.problems import Problem


def question_named(request: Request, pipeline: str, name: str) -> tuple[Pipeline, Question]:
    """Return the question of an address. Raises Problem 404."""
    pipelines: Mapping[str, Pipeline] = request.app.state.surface.pipelines
    found = pipelines.get(pipeline)
    if found is None or name not in found.questions:
        raise Problem(404, "There is no such question.", "/questions lists all.")
    return found, found.questions[name]


def given_in(request: Request, question: Question, *others: str) -> tuple[date | None, dict[str, str]]:
    """Return the load_date of a request and the texts of its parameters; `others` are words of the address.

    Raises Problem 422 for a word that is none of these, that is given twice, or that has a wrong value.
    """
    known = [LOAD_DATE, *others, *question.header.parameters]
    found: dict[str, str] = {}
    for name, text in request.query_params.multi_items():
        if name not in known:
            raise Problem(422, f"There is no parameter {shown(name)}.", f"This address has {', '.join(known)}.")
        if name in found:
            raise Problem(422, f"The parameter {name} is given more than once.", "Give it once.")
        found[name] = text
    given = {name: text for name, text in found.items() if name in question.header.parameters}
    try:
        question.values(given)
    except WrongParameterError as error:
        raise Problem(422, f"The parameter {error.parameter} is wrong.", str(error)) from None
    day = found.get(LOAD_DATE)
    try:
        return (parse_date(day) if day else None), given
    except ValueError as error:
        raise Problem(422, f"The parameter {LOAD_DATE} is wrong.", f"{LOAD_DATE}: {error}.") from None
