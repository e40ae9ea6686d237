"""The words of a YAML file as Markdown, from the JSON schema of the pydantic model that reads the file.

A word's value, default, description and example are those of its field. A word that has words of its own links to
their section, or shows them in a table below it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from kpi_assets.docs.markdown import code, listed, table, word

Schema = Mapping[str, Any]  # a JSON schema, or a part of one
REQUIRED = "required"
_NULL: Schema = {"type": "null"}
_PLURALS = {"text": "texts", "date": "dates", "a value": "values"}
_SCALARS = {"string", "boolean", "integer", "number"}


class Words:
    """The words of one model; `elsewhere` maps the name of a model to the page that describes it."""

    def __init__(self, model: type[BaseModel], elsewhere: Mapping[str, str] | None = None) -> None:
        schema = model.model_json_schema()
        self._fields: Schema = schema["properties"]
        self._required: list[str] = schema.get("required", [])
        self._models: Schema = schema.get("$defs", {})
        self._elsewhere = elsewhere or {}

    def sections(self, *names: str) -> str:
        """Return a section for each word, or for the named ones: value, default, meaning, example, inner words."""
        return "\n\n".join("\n\n".join(self._section(name)) for name in names or self._fields)

    def _section(self, name: str) -> Iterator[str]:
        field = self._fields[name]
        yield f"## {word(name)}"
        default = _default(field, required=name in self._required)
        shown = {REQUIRED: "It is required."}.get(default, f"Default: {default}." if default else "")
        yield f"Value: {self._value(field)}. {shown}".strip()
        yield self._meaning(field)
        for example in field.get("examples", []):
            yield code(example, "yaml")
        for model in _models_in(field):
            yield from self._tables(name, model)

    def _tables(self, name: str, model: str) -> Iterator[str]:
        """Yield tables with the words of a model and of the models in it; none if another page describes the model."""
        if model in self._elsewhere:
            return
        schema = self._models[model]
        required = schema.get("required", [])
        yield f"Words of {word(name)}:"
        yield table(
            ("word", "value", "default", "meaning"),
            (
                (word(key), self._value(field), _default(field, required=key in required), self._with_example(field))
                for key, field in schema["properties"].items()
            ),
        )
        for key, field in schema["properties"].items():
            for inner in _models_in(field):
                yield from self._tables(f"{name}.{key}", inner)

    def _with_example(self, field: Schema) -> str:
        examples = [word(example) for example in field.get("examples", [])]
        return f"{self._meaning(field)} Example: {listed(examples)}." if examples else self._meaning(field)

    def _meaning(self, field: Schema) -> str:
        """Return the description of a field; without one, the description of the model that reads its value."""
        of_models = [self._models[model].get("description", "") for model in _models_in(field)]
        return str(field.get("description") or " ".join(of_models))

    def _value(self, part: Schema) -> str:
        """Return the kind of value that a word takes, in a few words."""
        if model := _referred(part):
            page = self._elsewhere.get(model)
            return f"[words of its own]({page})" if page else "words of its own"
        if "anyOf" in part:
            return self._one_of(part["anyOf"])
        if options := part.get("enum") or ([part["const"]] if "const" in part else []):
            return listed([word(_yaml(option)) for option in options])
        kinds = {"integer": _number, "number": _number, "array": self._list, "object": self._names}
        kind = part.get("type")
        if kind in kinds:
            return kinds[kind](part)
        return {"boolean": "`true` or `false`", "null": "`null`"}.get(kind or "", str(part.get("format", "text")))

    def _one_of(self, parts: Sequence[Schema]) -> str:
        """Join the alternatives without `null`, which stands for a word that is left out."""
        kinds = {str(each.get("type")) for each in parts}
        if kinds >= _SCALARS:
            return "a value"
        return listed(list(dict.fromkeys(self._value(each) for each in parts if each != _NULL)))

    def _list(self, part: Schema) -> str:
        if "prefixItems" not in part:
            one = self._value(part["items"])
            return f"a list of {_PLURALS.get(one, one)}"
        items = part["prefixItems"]
        nulls = " or `null`" if any(_NULL in each.get("anyOf", []) for each in items) else ""
        return f"a list of {len(items)}, each {listed(list(dict.fromkeys(map(self._value, items))))}{nulls}"

    def _names(self, part: Schema) -> str:
        one = self._value(part["additionalProperties"])
        return f"names, each with {'a ' * one.startswith(('number', 'whole number'))}{one}"


def _number(part: Schema) -> str:
    kind = "whole number" if part["type"] == "integer" else "number"
    bounds = {
        "minimum": "from {:,}",
        "exclusiveMinimum": "above {:,}",
        "maximum": "to {:,}",
        "exclusiveMaximum": "below {:,}",
    }
    limits = [text.format(part[name]).removesuffix(".0") for name, text in bounds.items() if name in part]
    return " ".join([kind, *limits])


def _default(field: Schema, *, required: bool) -> str:
    """Return the default as YAML; empty if there is none."""
    if required:
        return REQUIRED
    value = field.get("default")
    # The defaults of words of its own stand in their table.
    return "" if value in (None, "") or isinstance(value, (dict, list)) else word(_yaml(value))


def _yaml(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _models_in(part: Schema) -> list[str]:
    """Return the names of the models that read a value or a part of it, in order."""
    if model := _referred(part):
        return [model]
    inner = [*part.get("anyOf", []), *part.get("prefixItems", [])]
    inner += [part[key] for key in ("items", "additionalProperties") if isinstance(part.get(key), dict)]
    return list(dict.fromkeys(model for each in inner for model in _models_in(each)))


def _referred(part: Schema) -> str:
    return str(part.get("$ref", "")).rpartition("/")[2]
