"""The word `rules` of a quarantine: the rows of a SELECT that break one of them are set aside, not published.

Belongs here: which words of `checks` make rules, and a rule with a name of the user's choice. Not here: the checks that
they are expanded into (checks/expand.py), and setting rows aside (warehouse/set_aside.py).
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, create_model, model_validator

from kpi_assets.model.affects import Affects
from kpi_assets.model.checks.options import OPTIONS
from kpi_assets.model.checks.words import WORDS
from kpi_assets.model.field_types import Expression, Sentence
from kpi_assets.model.names import Identifier
from kpi_assets.model.sentences import Loc, UnknownWordError, listed, nearest, refuse
from kpi_assets.model.strict_yaml import Strict

RULE_WORDS = {name: word for name, word in WORDS.items() if word.is_rule}
_NO_OPTION = {
    "severity": "rows that break it are set aside, and `rows` and `share` beside the rules say how many may be",
    "for": "no rule tells people",
    "waivable": "a row that breaks it is decided on with `kpi quarantine`",
    "dimension": "the rows that it sets aside count in the check `quarantine`, which has the dimension validity",
}


def _option_problems(values: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
    for option in OPTIONS:
        if option in values:
            yield (option,), f"a rule has no {option}: {_NO_OPTION[option]}; take it out"


class CustomRule(Strict):
    """A query that returns the rows to set aside, and reads the build as `{this}`."""

    bad_rows: Annotated[Expression, Affects.ROWS] = Field(
        description="A query that returns the rows to set aside, each with at least the columns of the grain. It reads "
        "the candidate as `{this}`.",
        examples=["bad_rows: select * from {this} where ends_at < starts_at"],
    )
    description: Annotated[Sentence | None, Affects.NOTHING] = Field(
        default=None, description="What the rule demands of a row."
    )

    @model_validator(mode="before")
    @classmethod
    def _is_a_rule(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            raise UnknownWordError(tuple(RULE_WORDS), "a rule of your own has the word bad_rows")
        refuse(_option_problems(values))
        if "reconcile" in values:
            refuse([(("reconcile",), "it says of no single row that it is bad: write it below checks")])
        if not any(nearest(word, cls.model_fields) for word in values):
            raise UnknownWordError(tuple(RULE_WORDS), "a rule of your own has the word bad_rows")
        return values


_FIELDS: dict[str, Any] = {
    word.name: (
        Annotated[word.type, Affects.ROWS],
        Field(default=word.default, description=word.description, examples=[word.example]),
    )
    for word in RULE_WORDS.values()
}
_Words: Any = create_model("_Words", __base__=Strict, **_FIELDS)


class Rules(_Words):
    """The words of checks that say which rows are bad, and under `custom` every other name."""

    custom: Annotated[dict[Identifier, CustomRule], Affects.ROWS] = Field(
        default={}, description="Stands for each other name below `rules`, which is a rule of your own."
    )

    @model_validator(mode="before")
    @classmethod
    def _names_are_custom_rules(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "custom" in values:
            return values
        refuse(
            ((name,), f"it says of no single row that it is bad: write it below checks; a rule is {listed(RULE_WORDS)}")
            for name in values
            if name in WORDS and name not in RULE_WORDS
        )
        refuse(_option_problems({name: value for name, value in values.items() if not isinstance(value, dict)}))
        words = {name: value for name, value in values.items() if name in RULE_WORDS}
        refuse(
            ((name, *place), problem)
            for name, value in words.items()
            if isinstance(value, dict)
            for place, problem in _option_problems(value)
        )
        return {**words, "custom": {name: value for name, value in values.items() if name not in RULE_WORDS}}

    @model_validator(mode="after")
    def _says_something(self) -> "Rules":
        if not any(getattr(self, name) for name in type(self).model_fields):
            raise ValueError("there is no rule: write one, or take the word out")
        return self
