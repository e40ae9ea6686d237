"""Options of a built-in word below `checks`: severity, dimension of quality, and whether a failure may be waived.

Belongs here: the options, and taking them out of the value of a word. Not here: what words demand (the families of
checks), and the same two words of a check of the user's own (custom.py).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BeforeValidator, Field, model_validator

from kpi_assets.model.affects import Affects
from kpi_assets.model.checks.word import CheckWord
from kpi_assets.model.quality import DIMENSIONS, Dimension
from kpi_assets.model.sentences import refuse, shown
from kpi_assets.model.strict_yaml import Strict
from kpi_assets.model.wait import For, Wait

Severity = Literal["error", "warn", "alert"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
SEVERITY_MEANING = (
    "`error` holds the load_date; `warn` records the result and publishes; `alert` does that too, and opens an "
    "incident while the latest published rows fail the check."
)
FOR_MEANING = (
    "For `severity: alert`: how long the check must fail before the incident is opened, as `10 minutes` or as "
    "`3 load_dates` in a row. Without this word it is opened at once."
)
WAIVABLE_MEANING = (
    "Whether somebody may rule with `kpi waive` that one build is published although this check fails. With `false`, "
    "nobody may."
)
OPTIONS = ("severity", "dimension", "for", "waivable")
_COLUMNS = "columns"  # the word for the list of a word whose value is a list
_OWN = "it is no column or key here: for one of this name, write a check of your own"


def _severity(value: Any) -> Any:
    if value not in SEVERITIES:
        raise ValueError(f"{shown(value)} is no severity: write error, warn or alert; {_OWN}")
    return value


def _dimension(value: Any) -> Any:
    if value not in DIMENSIONS:
        raise ValueError(
            f"{shown(value)} is no dimension: write {', '.join(DIMENSIONS[:-1])} or {DIMENSIONS[-1]}; {_OWN}"
        )
    return value


class WordOptions(Strict):
    """The severity and the dimension of the checks of one word, where its value says them."""

    severity: Annotated[Severity | None, BeforeValidator(_severity), Affects.CHECKS] = Field(
        default=None, description=SEVERITY_MEANING
    )
    for_: Annotated[For | None, Affects.NOTHING] = Field(
        default=None, alias="for", description=FOR_MEANING, examples=["for: 10 minutes"]
    )
    dimension: Annotated[Dimension | None, BeforeValidator(_dimension), Affects.CHECKS] = Field(
        default=None, description="The dimension of the quality score to which the checks of the word belong."
    )
    waivable: Annotated[bool, Affects.NOTHING] = Field(
        default=True, description=WAIVABLE_MEANING, examples=["waivable: false"]
    )

    @model_validator(mode="after")
    def _waits_for_an_alert(self) -> "WordOptions":
        check_for(self.severity, self.for_)
        return self

    @property
    def alert(self) -> Wait | None:
        """How long the checks must fail before people are told; None if these checks tell nobody."""
        return alert_of(self.severity, self.for_)


def check_for(severity: Severity | None, wait: Wait | None) -> None:
    """Refuse `for` at a check that tells nobody."""
    if wait and severity != "alert":
        refuse([(("for",), "is how long an alert waits: write severity: alert beside it, or take it out")])


def alert_of(severity: Severity | None, wait: Wait | None) -> Wait | None:
    """Return how long a check must fail before people are told; None if its severity is another."""
    return (wait or Wait()) if severity == "alert" else None


def split_options(
    values: Mapping[str, Any], words: Mapping[str, CheckWord]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the values of words without their options, and the options of each word that has some.

    A word that has nothing but options gets its default value.
    """
    plain: dict[str, Any] = {}
    options: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        is_list = get_origin(words[name].type) is list
        if not isinstance(value, dict) or not ({*OPTIONS, *([_COLUMNS] if is_list else [])} & value.keys()):
            plain[name] = value
            continue
        if given := {option: value[option] for option in OPTIONS if option in value}:
            options[name] = given
        rest = {part: each for part, each in value.items() if part not in OPTIONS}
        if is_list:
            write = f"write {{{_COLUMNS}: [a, b], severity: warn}}"
            refuse(((name, part), f"is not known here: {write}") for part in rest if part != _COLUMNS)
        if rest:
            plain[name] = rest[_COLUMNS] if is_list else rest
    return plain, options
