"""Sentences for errors in a file: what is wrong with a value, and what to write instead of it.

They replace the messages of pydantic and PyYAML.

Belongs here: one sentence for each type of error, and the known word that is nearest to an unknown one.
Not here: the line of an error (strict_yaml.py), and rules for a single word (its validator has the sentence).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from kpi_assets.model import excerpt

Loc = tuple[int | str, ...]
_SHOWN = 60  # characters of a value

_LIST = "{value} is not a list: write [a, b]"
_WORDS = "{value} is not a set of words: write each on a line of its own below it, or {{word: value, word: value}}"
_WHOLE = "{value} is not a whole number: write digits only"
_NUMBER = "{value} is not a number: write a plain decimal number"
_BOOLEAN = "{value} is not true or false: write one of them"
# Pydantic's type of error -> the sentence; {value} is the value in the file, the other names are pydantic's.
_SENTENCES: Mapping[str, str] = {
    "string_type": "{value} is not text: write a text, in quotes if it looks like something else",
    "string_too_short": "{value} is too short: write at least {min_length} characters",
    "string_too_long": "{value} is too long: write at most {max_length} characters",
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), _WHOLE),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), _NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), _BOOLEAN),
    **dict.fromkeys(("list_type", "tuple_type"), _LIST),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), _WORDS),
    "string_pattern_mismatch": "{value} has a line end or another control character: write it on one line",
    "too_short": "it has {actual_length} parts: write at least {min_length}",
    "too_long": "it has {actual_length} parts: write at most {max_length}",
    "greater_than_equal": "{value} is too small: write {ge} or more",
    "greater_than": "{value} is too small: write more than {gt}",
    "less_than_equal": "{value} is too large: write {le} or less",
    "less_than": "{value} is too large: write less than {lt}",
    "literal_error": "{value} is not known here: write {expected}",
    "recursion_loop": "it is a part of itself: write it out without &name and *name",
}
# How a message of PyYAML begins -> the sentence.
_YAML: Mapping[str, str] = {
    "found character '\\t'": "a value begins with a tab: indent with spaces",
    "found character": "a value cannot begin with this character: put the value in quotes",
    "mapping values are not allowed": (
        "this line has a second `: `, or another indentation than its neighbors: put the value in quotes, or "
        "correct the indentation"
    ),
    "found unexpected end of stream": "a quote opens here and is never closed: close it",
    "expected ',' or": (
        "a bracket opens here and its parts cannot be told apart: close it, put a comma between the parts, and put a "
        "text with `: `, `#` or a comma in quotes"
    ),
    "but found another document": "--- begins a second document: take it out",
    "found undefined alias": "a value that begins with * refers to one that is marked with &: put it in quotes",
    "could not determine a constructor": "the tag that begins with ! is not known here: take it out",
    "could not find expected ':'": "a word without `: ` and a value: write both, or put a long text in quotes",
    "expected <block end>": "this line has another indentation than its neighbors: give each the same number of spaces",
}


def nearest(word: object, known: Iterable[str]) -> str | None:
    """Return the known word that is spelled most like `word`, or None if none is similar."""
    return next(iter(get_close_matches(str(word), list(known), 1, 0.6)), None)


def known_names(name: str, known: Sequence[str]) -> str:
    """Return the rest of a sentence about an unknown `schema.table`: which is meant, if one is like it, and all known.

    The name of the table is compared first: those of one schema begin alike.
    """
    last = nearest(_last(name), map(_last, known))
    of_last = [each for each in known if _last(each) == last]
    meant = nearest(name, of_last) or next(iter(of_last), None)
    others = [each for each in known if each != meant]
    return (
        f"write {meant}" + f", or one of {', '.join(others)}" * bool(others) if meant else f"it has {', '.join(known)}"
    )


def known_words(word: str, known: Sequence[str]) -> str:
    """Return the rest of a sentence about an unknown word: which is meant, if one is like it, and all known."""
    if not known:
        return "it has none"
    meant = nearest(word, known)
    return f"write {meant}" if meant else f"it has {', '.join(known)}"


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def of_yaml(problem: str) -> str:
    """Return the sentence for a message of PyYAML, with what to do."""
    found = next((sentence for begin, sentence in _YAML.items() if problem.startswith(begin)), "")
    return found or f"this is not YAML ({excerpt.cut(problem, _SHOWN)}): check the indentation and the quotes"


def listed(words: Iterable[str]) -> str:
    """Join words as pydantic lists them: `'a', 'b' or 'c'`."""
    *others, last = map(repr, words)
    return f"{', '.join(others)} or {last}" if others else last


class MisplacedError(ValueError):
    """Raised by the validator of a value whose parts are wrong: `problems` are (place below the value, sentence)."""

    def __init__(self, problems: Iterable[tuple[Loc, str]]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(problem for _, problem in self.problems))


class UnknownWordError(ValueError):
    """Raised by the validator of a value whose name must be one of `known`; `otherwise` says what else is possible."""

    def __init__(self, known: Sequence[str], otherwise: str) -> None:
        self.known, self.otherwise = known, otherwise
        super().__init__(otherwise)


def refuse(problems: Iterable[tuple[Loc, str]]) -> None:
    """Raise MisplacedError if there are problems."""
    if found := list(problems):
        raise MisplacedError(found)


def of_model(
    model: type[BaseModel], error: ValidationError, written: Callable[[Loc], Loc]
) -> Iterator[tuple[Loc, str]]:
    """Yield (place, sentence) for each problem; `written` returns the parts of a place that the file contains."""
    found = error.errors(include_url=False)
    # A misspelled word is also reported as missing under its right name: that is one mistake.
    meant = {(*each["loc"][:-1], _meant(model, each["loc"])) for each in found if each["type"] == "extra_forbidden"}
    for each in found:
        loc, kind, cause = each["loc"], each["type"], each.get("ctx", {}).get("error")
        if kind == "missing":
            if loc not in meant:
                yield loc, _missing(model, loc, written)
        elif kind == "extra_forbidden":
            yield loc, _unknown(model, loc, written)
        elif isinstance(cause, MisplacedError):
            yield from ((((*loc, *below)), _at(written((*loc, *below)), what)) for below, what in cause.problems)
        elif isinstance(cause, UnknownWordError):
            meant_word = nearest(loc[-1], cause.known)
            write = f"write {meant_word!r}" if meant_word else f"write one of {', '.join(cause.known)}"
            yield loc, f"unknown word {_dotted(written(loc))!r}: {write}, or else {cause.otherwise}"
        else:
            yield loc, _at(written(loc), str(cause) if cause is not None else _sentence(kind, each))


def _sentence(kind: str, error: Mapping[str, Any]) -> str:
    form = _SENTENCES.get(kind, "{value} cannot be read here: docs/guides/authoring.md says what can stand here")
    bounds = {name: f"{bound:g}" if isinstance(bound, float) else bound for name, bound in error.get("ctx", {}).items()}
    return form.format(**{**bounds, "value": shown(error["input"])})


def shown(value: object) -> str:
    """Return a value of a file as it is shown within a sentence."""
    if value is None:
        return "nothing"
    if isinstance(value, (dict, list)):
        return "a set of words" if isinstance(value, dict) else "a list"
    if isinstance(value, Decimal):
        return excerpt.cut(str(value), _SHOWN)
    return str(value).lower() if isinstance(value, bool) else excerpt.cut(repr(value), _SHOWN)


def _at(where: Loc, problem: str) -> str:
    return f"{_dotted(where)}: {problem}" if where else problem


def _dotted(where: Loc) -> str:
    return excerpt.cut(".".join(map(str, where)), 4 * _SHOWN)


def _missing(model: type[BaseModel], loc: Loc, written: Callable[[Loc], Loc]) -> str:
    place = (*written(loc[:-1]), loc[-1])
    field = _field(model, loc)
    example = field.examples[0] if field and field.examples else None
    return f"{_dotted(place)!r} is missing: add it" + (f", as in `{example}`" if example else "")


def _unknown(model: type[BaseModel], loc: Loc, written: Callable[[Loc], Loc]) -> str:
    word, meant = _dotted(written(loc)), _meant(model, loc)
    if meant:
        return f"unknown word {word!r}: write {meant!r}"
    return f"unknown word {word!r}: take it out, or write one of {', '.join(_words(model, loc[:-1]))}"


def _meant(model: type[BaseModel], loc: Loc) -> str | None:
    return nearest(loc[-1], _words(model, loc[:-1]))


def _words(model: type[BaseModel], loc: Loc) -> list[str]:
    """Return the words that a model allows at a place."""
    annotation: Any = model
    for part in loc:
        annotation = _below(annotation, part)
    return [name for each in _models(annotation) for name in _fields(each)]


def _field(model: type[BaseModel], loc: Loc) -> FieldInfo | None:
    annotation: Any = model
    for part in loc[:-1]:
        annotation = _below(annotation, part)
    return next((_fields(each)[str(loc[-1])] for each in _models(annotation)), None)


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a model by their names in a file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [each for each in _options(annotation) if isinstance(each, type) and issubclass(each, BaseModel)]


def _below(annotation: Any, part: int | str) -> Any:
    """Return the type of the value at `part` below a value of type `annotation`, or None if there can be none."""
    for each in _options(annotation):
        arguments = get_args(each)
        if isinstance(each, type) and not arguments and issubclass(each, BaseModel) and part in _fields(each):
            return _fields(each)[str(part)].annotation
        if get_origin(each) in (dict, list):
            return arguments[-1]
    return None


def _options(annotation: Any) -> list[Any]:
    """Return the types that an annotation allows, without None."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [option for each in get_args(annotation) for option in _options(each)]
    return [] if annotation in (None, type(None)) else [annotation]


def place_of(error: yaml.MarkedYAMLError) -> int:
    """Return the line of a YAML error. For a quote or bracket that is never closed it is the line that opens it."""
    opens = error.context is not None and re.search("quoted|flow", error.context)
    mark = error.context_mark if opens else error.problem_mark
    return mark.line + 1 if mark else 1
