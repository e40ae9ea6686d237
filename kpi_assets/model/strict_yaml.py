"""YAML without its surprises, and errors that know their file and line.

Belongs here: parsing text into plain values, the line of each value, and collecting errors, so that all are reported
at once. Not here: what any key means, and the text of an error (sentences.py).
"""

import re
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from kpi_assets.errors import UserError
from kpi_assets.model import sentences
from kpi_assets.model.sentences import Loc

M = TypeVar("M", bound=BaseModel)


class ModelError(UserError):
    """An error in a file below sql/; the message begins with file and line."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        self.path, self.line, self.problem = path, line, problem
        super().__init__(f"{path}:{line}: {problem}")

    @property
    def each(self) -> Sequence["ModelError"]:
        """The single errors: this one, or each of several."""
        return [self]


class SeveralModelErrors(ModelError):  # noqa: N818  it is several
    """Several errors; the message shows the first few of them."""

    FEW = 5

    def __init__(self, found: Sequence[ModelError]) -> None:
        super().__init__(found[0].path, found[0].line, found[0].problem)
        self._each = found

    @property
    def each(self) -> Sequence[ModelError]:
        """The single errors."""
        return self._each

    @property
    def sentences(self) -> list[str]:
        """The messages of the first few errors, and the number of the others."""
        shown = [str(error) for error in self._each[: self.FEW]]
        more = len(self._each) - len(shown)
        return [*shown, f"{more} more of these: `kpi check` shows all."] if more else shown

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def together(found: Sequence[ModelError]) -> ModelError:
    """Combine at least one error into one exception: each error once, in the order of file and line."""
    unique = {str(error): error for error in found}
    each = sorted(unique.values(), key=lambda error: (error.path, error.line))
    return each[0] if len(each) == 1 else SeveralModelErrors(each)


class Problems:
    """Collects errors. After `with problems.collected():` the program goes on, even if the block raised an error."""

    def __init__(self) -> None:
        self.found: list[ModelError] = []

    def add(self, path: Path, line: int, problem: str) -> None:
        """Add an error."""
        self.found.append(ModelError(path, line, problem))

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Collect the ModelError that the block raises, if it raises one."""
        try:
            yield
        except ModelError as error:
            self.found += error.each

    def raise_any(self) -> None:
        """Raise ModelError if errors were collected, with all of them in the order of file and line."""
        if self.found:
            raise together(self.found)


class Strict(BaseModel):
    """The base of all parts of a file: unknown words are errors, and values are immutable."""

    # Infinity must not look like null in the JSON that versions are computed from.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    @field_validator("*", mode="before")
    @classmethod
    def _is_not_empty(cls, value: Any) -> Any:
        """Refuse a word without a value: `kpi:` would mean that the table is no KPI."""
        if value is None:
            raise ValueError("it is empty: write its value, or take the word out")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_word_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse `true` where a number stands: Python counts it as 1."""
        if isinstance(value, bool):
            annotation = cls.model_fields[str(info.field_name)].annotation
            kinds = {annotation, *get_args(annotation)}
            if kinds & {int, float} and bool not in kinds:
                raise ValueError(f"it is {str(value).lower()}: write a number")
        return value


_CORE = "tag:yaml.org,2002:"
_NUMBER = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
# YAML 1.2's core schema: the type of a word without quotes that is not text. The first pattern that matches decides.
_FORMS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": rf"{_NUMBER}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    # Numbers in YAML 1.1, and in the mind of most authors, but text in YAML 1.2.
    "doubtful": r"[-+]?[0-9][0-9_]*\.?[0-9_]*([eE][-+]?[0-9]+)?|[-+]?0b[01_]+|[-+]?0[ox][0-9a-fA-F_]+",
}
_WORDS = ("true", "false", "null")  # keys that are words of a header, although they look like another value
_DIGITS = 1_000  # the most characters of a number
_READ_OTHERWISE = re.compile("[\t]")  # libyaml takes tabs where PyYAML refuses them
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # an escape in double quotes may produce them


class _Schema(yaml.constructor.SafeConstructor, yaml.resolver.Resolver):
    """YAML 1.2's core schema (`no`, `22:30` and `2026-01-01` are text, `010` is ten), and no duplicate keys."""

    yaml_implicit_resolvers = {}
    yaml_constructors = {
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.removeprefix(_CORE) in {"null", "str", "seq", "map"}
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(problem="a key must be one word", problem_mark=key.start_mark)
            if key.value in _WORDS:
                key.tag = f"{_CORE}str"
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value!r} appears a second time", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        if isinstance(node.value, str) and (found := _UNSTORABLE.search(node.value)):
            problem = f"it contains U+{ord(found[0]):04X}, which no database stores as text: take it out"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
        return super().construct_scalar(node)

    def construct_core(self, node: yaml.ScalarNode) -> bool | int | float:
        """Return the value of a word that is not text. Raises ConstructorError if its form is not that of its type."""
        form, text = node.tag.removeprefix(_CORE), node.value
        if form == "doubtful" or not re.fullmatch(_FORMS[form], text):
            problem = f"{text!r} may be a number or a text: write a plain decimal number, or put it in quotes"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
        if form == "bool":
            return bool(text.lower() == "true")
        if len(text) > _DIGITS:
            problem = f"a number of {len(text)} characters is too long for a number: put it in quotes"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
        if form == "int":
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        number = float(re.sub(r"\.(?=[inIN])", "", text))
        if re.fullmatch(_NUMBER, text) and not _is_exact(text, number):
            problem = f"{text} has more digits than a floating-point number keeps: put it in quotes"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
        return number


def _is_exact(text: str, number: float) -> bool:
    try:
        return Decimal(text) == Decimal(repr(number))
    except ArithmeticError:  # an exponent beyond all bounds
        return False


for _form, _pattern in _FORMS.items():
    _Schema.add_implicit_resolver(_CORE + _form, re.compile(rf"(?:{_pattern})\Z"), [*"-+.0123456789~nNtTfF", ""])
for _form in ("bool", "int", "float", "doubtful"):
    _Schema.add_constructor(_CORE + _form, _Schema.construct_core)  # type: ignore[type-var]  # it needs no stream


class _Loader(_Schema, yaml.SafeLoader):
    """Reads text with PyYAML's own parser, whose errors are those that people are told."""


class _FastLoader(_Schema, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads text with libyaml, which is ten times as fast. Not every build of PyYAML has it."""


@dataclass(frozen=True)
class Lines:
    """The lines of the words of a text, counted from 1."""

    root: yaml.Node | None

    def of(self, *loc: int | str) -> int:
        """Return the line of the deepest part of `loc` in the text; parts that only the model has are skipped."""
        return self._find(loc)[0]

    def of_text(self, *loc: int | str) -> int:
        """Return the line on which the text of a value begins; a block (`|`) begins below its word."""
        line, node = self._find(loc)
        if not isinstance(node, yaml.ScalarNode):
            return line
        if node.style not in ("|", ">"):
            return int(node.start_mark.line) + 1
        text: str = node.value
        return int(node.start_mark.line) + 2 + text[: len(text) - len(text.lstrip())].count("\n")

    def written(self, loc: Loc) -> Loc:
        """Return the parts of `loc` that the text contains."""
        return tuple(part for part, _, _ in self._walk(loc))

    def _find(self, loc: Loc) -> tuple[int, yaml.Node | None]:
        line: int = self.root.start_mark.line + 1 if self.root is not None else 1
        found = (line, self.root)
        for _, line, node in self._walk(loc):
            found = (line, node)
        return found

    def _walk(self, loc: Loc) -> Iterator[tuple[int | str, int, yaml.Node]]:
        """Yield (part, its line, its value) for each part of `loc` that the text contains."""
        node = self.root
        for part in loc:
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if key.value == str(part):
                        node = value
                        yield part, key.start_mark.line + 1, value
                        break
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                yield part, node.start_mark.line + 1, node


def read(model: type[M], text: str, path: Path, context: Any = None) -> tuple[M, Lines]:
    """Parse `text` into `model`, with a context for its validators; return it with the lines of its words.

    Raises ModelError with all errors and their lines in `path`, for bad YAML and for bad content alike.
    """
    node, values = _parse(text, path)
    lines, problems = Lines(node), Problems()
    try:
        return model.model_validate(values, context=context), lines
    except ValidationError as error:
        for loc, sentence in sentences.of_model(model, error, lines.written):
            problems.add(path, lines.of(*loc), sentence)
        problems.raise_any()
        raise AssertionError from error


def _parse(text: str, path: Path) -> tuple[yaml.Node | None, Any]:
    if not _READ_OTHERWISE.search(text):
        with suppress(yaml.YAMLError, RecursionError):  # the other loader says what is wrong
            return _read_with(_FastLoader, text)
    try:
        return _read_with(_Loader, text)
    except yaml.MarkedYAMLError as error:
        own = isinstance(error, yaml.constructor.ConstructorError) and error.context is None
        own = own and not str(error.problem).startswith("could not determine")
        problem = str(error.problem) if own else sentences.of_yaml(str(error.problem))
        raise ModelError(path, sentences.place_of(error), problem) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ModelError(path, line, f"contains the control character U+{error.character:04X}: take it out") from None
    except RecursionError:
        raise ModelError(path, 1, "its lists are nested too deeply: write them flat") from None


def _read_with(kind: Any, text: str) -> tuple[yaml.Node | None, Any]:
    """Return the document of a text, as a tree and as values."""
    loader = kind(text)
    try:
        node = loader.get_single_node()
        return node, loader.construct_document(node) if node is not None else {}
    finally:
        loader.dispose()
