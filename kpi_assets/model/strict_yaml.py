"""YAML without its surprises, and errors that know their file and line.

Belongs here: parsing text into plain values, the lines on which they stand, and collecting what is wrong, so that a
person is told all of it at once. Not here: what any key means, and the words of an error (sentences.py).
"""

import re
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from kpi_assets.errors import UserError
from kpi_assets.model import sentences
from kpi_assets.model.sentences import Loc

M = TypeVar("M", bound=BaseModel)


class ModelError(UserError):
    """An error in a file below sql/; the sentence begins with the file and line."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        self.path, self.line, self.problem = path, line, problem
        super().__init__(f"{path}:{line}: {problem}")

    @property
    def each(self) -> Sequence["ModelError"]:
        """This error; of several errors, each of them."""
        return [self]


class SeveralModelErrors(ModelError):  # noqa: N818  it is several
    """Several errors; a message of many shows the first few."""

    FEW = 5

    def __init__(self, found: Sequence[ModelError]) -> None:
        super().__init__(found[0].path, found[0].line, found[0].problem)
        self._each = found

    @property
    def each(self) -> Sequence[ModelError]:
        """Each of them."""
        return self._each

    @property
    def sentences(self) -> list[str]:
        """The first few, and how many more there are."""
        told = [str(error) for error in self._each[: self.FEW]]
        more = len(self._each) - len(told)
        return [*told, f"{more} more of these: `kpi check` shows all."] if more else told

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def together(found: Sequence[ModelError]) -> ModelError:
    """One exception for these errors (at least one): each once, in the order of file and line."""
    unique = {str(error): error for error in found}
    each = sorted(unique.values(), key=lambda error: (error.path, error.line))
    return each[0] if len(each) == 1 else SeveralModelErrors(each)


class Problems:
    """Collects errors: after `with problems.collected():` the program goes on even if the block raised one."""

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
    """A piece of a file: unknown words are errors, and nothing changes once read."""

    # Infinity is a value, which must not look like null where versions are made of JSON.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


_CORE = "tag:yaml.org,2002:"
_NUMBER = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
# YAML 1.2's core schema: what a word without quotes is, when it is no text. The first pattern that fits decides.
_FORMS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": rf"{_NUMBER}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    # Numbers in YAML 1.1, and for most who write them, but text in 1.2.
    "doubtful": r"[-+]?[0-9][0-9_]*\.?[0-9_]*([eE][-+]?[0-9]+)?|[-+]?0b[01_]+|[-+]?0[ox][0-9a-fA-F_]+",
}
_DIGITS = 1_000  # characters of a number
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # an escape in double quotes may give them


class _Loader(yaml.SafeLoader):
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
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value!r} stands here a second time", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        if isinstance(node.value, str) and (found := _UNSTORABLE.search(node.value)):
            problem = f"U+{ord(found[0]):04X} stands in it, which no database stores as text: take it out"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
        return super().construct_scalar(node)

    def construct_core(self, node: yaml.ScalarNode) -> bool | int | float:
        """The value of a word that is no text. Raises ConstructorError for one that is not written as its type is."""
        form, text = node.tag.removeprefix(_CORE), node.value
        if form == "doubtful" or not re.fullmatch(_FORMS[form], text):
            problem = f"{text!r} may be a number or a text: write a plain decimal number, or put it in quotes"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
        if form == "bool":
            return bool(text.lower() == "true")
        if len(text) > _DIGITS:
            problem = f"a number of {len(text)} characters is longer than any that is kept: put it in quotes"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
        if form == "int":
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        number = float(re.sub(r"\.(?=[inIN])", "", text))
        if re.fullmatch(_NUMBER, text) and not _is_exact(text, number):
            problem = f"{text} has more digits than a number here keeps: put it in quotes"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
        return number


def _is_exact(text: str, number: float) -> bool:
    try:
        return Decimal(text) == Decimal(repr(number))
    except ArithmeticError:  # an exponent beyond all bounds
        return False


for _form, _pattern in _FORMS.items():
    _Loader.add_implicit_resolver(_CORE + _form, re.compile(rf"(?:{_pattern})\Z"), [*"-+.0123456789~nNtTfF", ""])
for _form in ("bool", "int", "float", "doubtful"):
    _Loader.add_constructor(_CORE + _form, _Loader.construct_core)


@dataclass(frozen=True)
class Lines:
    """On which lines the words of a text stand, 1 the first."""

    root: yaml.Node | None

    def of(self, *loc: int | str) -> int:
        """The line of the deepest part of `loc` that the text has; parts that only the model has are stepped over."""
        return self._find(loc)[0]

    def of_text(self, *loc: int | str) -> int:
        """The line on which the text of a value begins: a block's (`|`) begins below its word."""
        line, node = self._find(loc)
        if not isinstance(node, yaml.ScalarNode):
            return line
        if node.style not in ("|", ">"):
            return int(node.start_mark.line) + 1
        text: str = node.value
        return int(node.start_mark.line) + 2 + text[: len(text) - len(text.lstrip())].count("\n")

    def written(self, loc: Loc) -> Loc:
        """The parts of `loc` that the text has."""
        return tuple(part for part, _, _ in self._walk(loc))

    def _find(self, loc: Loc) -> tuple[int, yaml.Node | None]:
        line: int = self.root.start_mark.line + 1 if self.root is not None else 1
        found = (line, self.root)
        for _, line, node in self._walk(loc):
            found = (line, node)
        return found

    def _walk(self, loc: Loc) -> Iterator[tuple[int | str, int, yaml.Node]]:
        """(part, its line, its value) of each part of `loc` that the text has."""
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


def read(model: type[M], text: str, path: Path) -> tuple[M, Lines]:
    """Parse `text` into `model`, and tell where its words stand.

    Raises ModelError with the lines in `path` of all that is wrong, for bad YAML and for bad content alike.
    """
    node, values = _parse(text, path)
    lines, problems = Lines(node), Problems()
    try:
        return model.model_validate(values), lines
    except ValidationError as error:
        for loc, sentence in sentences.of_model(model, error, lines.written):
            problems.add(path, lines.of(*loc), sentence)
        problems.raise_any()
        raise AssertionError from error


def _parse(text: str, path: Path) -> tuple[yaml.Node | None, Any]:
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return node, loader.construct_document(node) if node is not None else {}
    except yaml.MarkedYAMLError as error:
        own = isinstance(error, yaml.constructor.ConstructorError) and error.context is None
        own = own and not str(error.problem).startswith("could not determine")
        problem = str(error.problem) if own else sentences.of_yaml(str(error.problem))
        raise ModelError(path, sentences.place_of(error), problem) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ModelError(path, line, f"holds the control character U+{error.character:04X}: take it out") from None
    except RecursionError:
        raise ModelError(path, 1, "its lists stand within lists too deeply to be read: write them flat") from None
    finally:
        if loader:
            loader.dispose()
