"""The word `checks` of a header: its built-in words with their severity, and the checks of the user's own.

Not here: the words themselves (words.py), the options of one word (options.py), and making the checks (expand.py).
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator

from kpi_assets.model.affects import Affects
from kpi_assets.model.checks.custom import CustomCheck
from kpi_assets.model.checks.options import OPTIONS, Severity, WordOptions, split_options
from kpi_assets.model.checks.words import WORDS
from kpi_assets.model.names import AS_PUBLISHED, Identifier
from kpi_assets.model.sentences import UnknownWordError, nearest, shown
from kpi_assets.model.strict_yaml import Strict


def _is_check(value: Any) -> Any:
    # A value with a misspelled word of a check is a check, so that the error lists the words of a check. The options
    # alone do not make it one, since a misspelled word of the registry may have them too.
    own = [word for word in CustomCheck.model_fields if word.rstrip("_") not in OPTIONS]
    if isinstance(value, CustomCheck) or (
        isinstance(value, dict) and (any(nearest(word, own) for word in value) or value.keys() <= {*OPTIONS})
    ):
        return value
    raise UnknownWordError((*WORDS, "severity"), "a check of your own has the word bad_rows or reconcile")


def _is_severity(value: Any) -> Any:
    if value not in OF_FILE:
        problem = "write error or warn for the words of this file, and another name for a check of your own"
        raise ValueError(f"{shown(value)} is no severity: {problem}")
    return value


def _is_free(name: str) -> str:
    if name == AS_PUBLISHED:
        raise ValueError("`kpi recheck` makes a check of this name: choose another name")
    return name


OF_FILE = ("error", "warn")  # the severities that all words of a file may have together
CheckName = Annotated[Identifier, AfterValidator(_is_free)]


# One field for each word of the registry, in its order.
_FIELDS: dict[str, Any] = {
    word.name: (
        Annotated[word.type, Affects.CHECKS],
        Field(default=word.default, description=word.description, examples=[word.example]),
    )
    for word in WORDS.values()
}
_Words: Any = create_model("_Words", __base__=Strict, **_FIELDS)


class Checks(_Words):
    """The built-in words, their severity, under `options` those of single words, and `custom` with other names."""

    severity: Annotated[Severity, BeforeValidator(_is_severity), Affects.CHECKS] = Field(
        default="error",
        description="The severity of the words that are written below it, unless a word says its own. It is not that "
        "of checks of your own, and not that of checks which a table has without a word.",
        examples=["severity: warn"],
    )
    options: Annotated[dict[str, WordOptions], Affects.CHECKS] = {}
    custom: Annotated[dict[CheckName, Annotated[CustomCheck, BeforeValidator(_is_check)]], Affects.CHECKS] = {}

    @model_validator(mode="before")
    @classmethod
    def _names_are_custom_checks(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "custom" in values:
            return values
        words, options = split_options({name: value for name, value in values.items() if name in WORDS}, WORDS)
        severity = {name: value for name, value in values.items() if name == "severity"}
        custom = {name: value for name, value in values.items() if name not in {*WORDS, *severity}}
        return {**severity, **words, "options": options, "custom": custom}

    def options_of(self, word: str) -> WordOptions:
        """Return the options of a built-in word: its own, or the severity of all words that the file has."""
        options = self.options.get(word, WordOptions())
        is_written = word in self.model_fields_set or word in self.options
        if is_written and options.severity is None and "severity" in self.model_fields_set:
            return WordOptions(**{**options.model_dump(exclude_none=True), "severity": self.severity})
        return options
