"""YAML without its surprises, and errors that know their file and line.

Belongs here: parsing text into plain values, and pydantic errors as sentences. Not here: what any key means.
"""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from kpi_assets.errors import UserError

M = TypeVar("M", bound=BaseModel)


class ModelError(UserError):
    """A file below sql/ says something that makes no sense; the sentence begins with the file and line."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        self.path, self.line, self.problem = path, line, problem
        super().__init__(f"{path}:{line}: {problem}")


class MisplacedError(ValueError):
    """Raised by a validator of a whole model: what is wrong stands below it, at `loc`."""

    def __init__(self, loc: tuple[int | str, ...], problem: str) -> None:
        self.loc = loc
        super().__init__(problem)


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

    def construct_core(self, node: yaml.ScalarNode) -> bool | int | float:
        """The value of a word that is no text. Raises ConstructorError for one that is not written as its type is."""
        form, text = node.tag.removeprefix(_CORE), node.value
        if form == "doubtful" or not re.fullmatch(_FORMS[form], text):
            problem = f"{text!r} may be a number or a text: write a plain decimal number, or put it in quotes"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
        if form == "bool":
            return bool(text.lower() == "true")
        if form == "int":
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        number = float(re.sub(r"\.(?=[inIN])", "", text))
        if re.fullmatch(_NUMBER, text) and Decimal(text) != Decimal(repr(number)):
            problem = f"{text} has more digits than a number here keeps: put it in quotes"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
        return number


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

    def _find(self, loc: tuple[int | str, ...]) -> tuple[int, yaml.Node | None]:
        node = self.root
        line: int = node.start_mark.line + 1 if node is not None else 1
        for part in loc:
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if key.value == str(part):
                        line, node = key.start_mark.line + 1, value
                        break
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
        return line, node


def read(model: type[M], text: str, path: Path) -> tuple[M, Lines]:
    """Parse `text` into `model`, and tell where its words stand.

    Raises ModelError with the line in `path`, for bad YAML and for bad content alike.
    """
    node, values = _parse(text, path)
    lines = Lines(node)
    try:
        return model.model_validate(values), lines
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        loc = (*first["loc"], *(cause.loc if isinstance(cause, MisplacedError) else ()))
        raise ModelError(path, lines.of(*loc), _sentence(loc, first["msg"], first["type"])) from None


def _parse(text: str, path: Path) -> tuple[yaml.Node | None, Any]:
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return node, loader.construct_document(node) if node is not None else {}
    except yaml.MarkedYAMLError as error:
        # A quote or bracket that is never closed is noticed far below the line on which it opens.
        opens = error.context is not None and ("quoted" in error.context or "flow" in error.context)
        mark = error.context_mark if opens else error.problem_mark
        line = mark.line + 1 if mark else 1
        raise ModelError(path, line, f"{error.problem} (check the YAML's indentation and quotes)") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ModelError(path, line, f"holds the control character U+{error.character:04X}: take it out") from None
    finally:
        if loader:
            loader.dispose()


def _sentence(loc: tuple[int | str, ...], message: str, kind: str) -> str:
    where = ".".join(str(part) for part in loc)
    if kind == "extra_forbidden":
        return f"unknown word {where!r}: take it out or correct its spelling"
    if kind == "missing":
        return f"{where!r} is missing: add it"
    return f"{where}: {message.removeprefix('Value error, ')}" if where else message.removeprefix("Value error, ")
