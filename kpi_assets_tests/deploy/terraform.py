"""The Terraform modules of deploy/terraform as plain dictionaries, and the arguments that a provider's resources take.

The arguments come from bindings of the providers, which are packages of Python made from the providers' own schemas:
the providers themselves cannot be installed without Terraform's registry.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import hcl2

from kpi_assets_tests.deploy.compose import DEPLOY

FOLDER = DEPLOY / "terraform"
CLOUDS = ("aws", "azure")
OF_TERRAFORM = {"count", "for_each", "depends_on", "lifecycle", "provider"}
_CLASS = re.compile(r"Represents a \{@link \S+/docs/(resources|data-sources)/\S+ (\w+)\}")


class Block(NamedTuple):
    """One resource or data source of a module."""

    place: str
    kind: str  # resource or data
    type: str
    body: Mapping[str, Any]


def module(cloud: str) -> dict[str, list[dict[str, Any]]]:
    """Return all top-level blocks of a module by their kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted((FOLDER / cloud).glob("*.tf")):
        for kind, blocks in hcl2.loads(file.read_text()).items():
            found.setdefault(kind, []).extend(_unquoted(blocks))
    return found


def names(cloud: str, kind: str) -> list[str]:
    """Return the names of all blocks of a kind that has one, such as output."""
    return [name for block in module(cloud)[kind] for name in block]


def blocks(cloud: str) -> Iterator[Block]:
    """Yield the resources and data sources of a module."""
    for kind in ("resource", "data"):
        for each in module(cloud).get(kind, []):
            for type_, named in each.items():
                for name, body in named.items():
                    yield Block(f"{cloud}: {type_}.{name}", kind, type_, body)


def problems(block: Block, bindings: Path) -> list[str]:
    """Return what the provider does not know, and what it misses, in a resource and the blocks within it."""
    found = _classes(bindings).get((block.kind, block.type))
    if found is None:
        return [f"{block.place}: the provider has no {block.kind} {block.type}"]
    file, name = found
    arguments = _arguments(file)
    return list(_problems(block.place, block.body, arguments[name], arguments))


def _problems(
    place: str, body: Mapping[str, Any], known: Mapping[str, tuple[str, bool]], all_: Mapping[str, Any]
) -> Iterator[str]:
    given = {
        name: value
        for name, value in body.items()
        if name not in {"dynamic", "__is_block__", "__comments__", "__inline_comments__"}
    }
    for dynamic in body.get("dynamic", []):
        for name, block in dynamic.items():
            given.setdefault(name, []).extend(block["content"])
    for name, value in given.items():
        if name not in known:
            yield from [] if name in OF_TERRAFORM else [f"{place}: the provider does not know {name}"]
            continue
        of_block = re.findall(r"['\"](\w+)['\"]", known[name][0])
        if isinstance(value, list) and value and isinstance(value[0], dict) and of_block:
            for each in value:
                yield from _problems(f"{place}.{name}", each, all_[of_block[0]], all_)
    for name, (_, is_required) in known.items():
        if is_required and name not in given:
            yield f"{place}: the provider needs {name}"


@cache
def _classes(bindings: Path) -> dict[tuple[str, str], tuple[Path, str]]:
    """Return the file and the class of each resource and data source."""
    found = {}
    for file in bindings.rglob("__init__.py"):
        name = ""
        for line in file.read_text().splitlines():
            if line.startswith("class "):
                name = line[6:].partition("(")[0]
            elif match := _CLASS.search(line):
                found.setdefault(("resource" if match[1] == "resources" else "data", match[2]), (file, name))
    return found


@cache
def _arguments(file: Path) -> dict[str, dict[str, tuple[str, bool]]]:
    """Return, for each class of a file, the arguments with their annotations and whether they are required."""
    found = {}
    for node in ast.parse(file.read_text()).body:
        init = next((each for each in getattr(node, "body", []) if getattr(each, "name", "") == "__init__"), None)
        if isinstance(node, ast.ClassDef) and isinstance(init, ast.FunctionDef):
            found[node.name] = {
                argument.arg: (ast.unparse(argument.annotation) if argument.annotation else "", default is None)
                for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
            }
    return found


def _unquoted(value: Any) -> Any:
    """Return a value without the quotes that the parser leaves around names and texts."""
    if isinstance(value, dict):
        return {str(_unquoted(name)): _unquoted(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_unquoted(each) for each in value]
    return value[1:-1] if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"' else value
