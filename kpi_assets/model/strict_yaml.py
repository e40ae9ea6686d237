"""YAML without its surprises, and errors that know their file and line.

Belongs here: parsing text into plain values, and pydantic errors as sentences. Not here: what any key means.
"""

import re
from collections.abc import Hashable
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


class Strict(BaseModel):
    """A piece of a file: unknown words are errors, and nothing changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's few implicit types (`no` is text, `2026-01-01` is text) and no duplicate keys."""

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


def _is_surprising(tag: str) -> bool:
    return tag in {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:merge"}


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not _is_surprising(tag)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _letter, _word in (("t", "true"), ("f", "false")):
    _Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(f"^{_word}$"), [_letter])


def read(model: type[M], text: str, path: Path) -> M:
    """Parse `text` into `model`. Raises ModelError with the line in `path`, for bad YAML and for bad content alike."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        values = loader.construct_document(node) if node is not None else {}
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ModelError(path, line, f"{error.problem} (check the YAML's indentation and quotes)") from None
    finally:
        loader.dispose()
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        problem = _sentence(first["loc"], first["msg"], first["type"])
        raise ModelError(path, _line_of(node, first["loc"]), problem) from None


def _line_of(node: yaml.Node | None, loc: tuple[int | str, ...]) -> int:
    """The line of the deepest part of `loc` that the text has; parts that only the model has are stepped over."""
    line = node.start_mark.line + 1 if node is not None else 1
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    line, node = key.start_mark.line + 1, value
                    break
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _sentence(loc: tuple[int | str, ...], message: str, kind: str) -> str:
    where = ".".join(str(part) for part in loc)
    if kind == "extra_forbidden":
        return f"unknown word {where!r}: take it out or correct its spelling"
    if kind == "missing":
        return f"{where!r} is missing: add it"
    return f"{where}: {message.removeprefix('Value error, ')}" if where else message.removeprefix("Value error, ")
