"""Words without quotes are read by the core schema of YAML 1.2, or are refused with an error that asks for quotes."""

from math import inf, isnan
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kpi_assets.model import strict_yaml
from kpi_assets.model.checks.declared import Checks
from kpi_assets.model.strict_yaml import ModelError, Strict, read
from kpi_assets_tests.examples import examples

PATH = Path("sql/shop/raw/things.sql")


class Words(Strict):
    """A list of any values."""

    words: list[Any]


def value_of(word: str) -> Any:
    return read(Words, f"words:\n- {word}\n", PATH)[0].words[0]


VALUES: dict[str, Any] = {
    # text in YAML 1.2, but not in 1.1
    **{word: word for word in ("22:30", "1:02:03", "yes", "no", "on", "off", "y", "N", "2025-01-01", "=", "<<")},
    **{word: word for word in ("2025-01-01 10:00:00", "1.2.3", "100_days", "_1", "e3", "inf", "nan", "tRue", "'010'")},
    "'010'": "010",
    # whole numbers
    "0": 0, "010": 10, "-007": -7, "+1": 1, "08": 8, "0o10": 8, "0x1F": 31,
    "123456789012345678901": 123456789012345678901,
    # other numbers
    "1.5": 1.5, ".5": 0.5, "-.5": -0.5, "1.": 1.0, "1e3": 1000.0, "12E-2": 0.12, "0.10": 0.1, "1e22": 1e22,
    ".inf": inf, "-.Inf": -inf, "+.INF": inf,
    "true": True, "True": True, "FALSE": False,
    "~": None, "null": None, "Null": None, "NULL": None, "": None,
    "!!int '5'": 5, "!!str 5": "5", "!!float 5": 5.0,
}  # fmt: skip


@pytest.mark.parametrize(("word", "value"), VALUES.items(), ids=[word or "nothing" for word in VALUES])
def test_a_word_is_read_by_the_core_schema(word: str, value: Any) -> None:
    found = value_of(word)
    assert (type(found), found) == (type(value), value)


def test_nan_is_a_number() -> None:
    assert isnan(value_of(".nan"))


@pytest.mark.parametrize(
    "word", ["1_000", "1_000.5", "2025_01", "0b101", "-0x1F", "+0o7", "0x1_F", "!!bool yes", "!!int x"]
)
def test_a_word_that_may_be_a_number_or_text_needs_quotes(word: str) -> None:
    with pytest.raises(ModelError) as caught:
        value_of(word)
    text = word.rsplit(maxsplit=1)[-1]
    assert str(caught.value).startswith(
        f"{PATH}:2: {text!r} may be a number or a text: write a plain decimal number, or put it in quotes"
    )
    assert value_of(f"'{text}'") == text


@pytest.mark.parametrize("word", ["99999999999999999.99", "3.14159265358979323846", "1e400"])
def test_a_number_that_would_be_rounded_needs_quotes(word: str) -> None:
    with pytest.raises(
        ModelError, match=f":2: {word} has more digits than a floating-point number keeps: put it in quotes"
    ):
        value_of(word)


@pytest.mark.parametrize("word", ["!!timestamp 2025-01-01", "!!binary aGk=", "!!set {a: null}"])
def test_tags_beyond_the_core_schema_are_refused(word: str) -> None:
    with pytest.raises(ModelError, match="the tag that begins with ! is not known here: take it out"):
        value_of(word)


def test_a_merge_key_is_an_unknown_word() -> None:
    with pytest.raises(ModelError, match=r"unknown word '<<'"):
        read(Words, "words: []\n<<: {words: [1]}\n", PATH)


def test_infinity_and_null_have_different_versions() -> None:
    bounded, endless = (Checks(range={"x": [0, end]}).model_dump_json() for end in (None, inf))
    assert bounded != endless


def _tree(node: yaml.Node | None) -> object:
    """Return a node with the lines of all its parts."""
    if node is None:
        return None
    line = node.start_mark.line
    if isinstance(node, yaml.MappingNode):
        return line, [(_tree(key), _tree(value)) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return line, [_tree(each) for each in node.value]
    return line if node.value else None, node.tag, node.value, node.style in ("|", ">")


WORDS = [
    "a",
    "b: 1",
    "- ",
    "  ",
    "\n",
    ": ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    '"x"',
    "'y'",
    "# c",
    "|\n",
    ">\n",
    "? ",
    "&a ",
    "*a",
]
WORDS += [
    "é",
    "\t",
    "1_0",
    "0x1f",
    "~",
    "true",
    "%",
    "@",
    "!!str ",
    "---\n",
    "...\n",
    "\\",
    '"\\u0000"',
    "<<: ",
    "\r\n",
    "\u2028",
]


@settings(max_examples=examples(2_000), deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=14).map("".join))
def test_both_loaders_read_the_same(text: str) -> None:
    assume(not strict_yaml._READ_OTHERWISE.search(text))
    try:
        fast = strict_yaml._read_with(strict_yaml._FastLoader, text)
    except yaml.YAMLError:
        return  # the other one decides then
    slow = strict_yaml._read_with(strict_yaml._Loader, text)
    assert (_tree(fast[0]), repr(fast[1])) == (_tree(slow[0]), repr(slow[1]))


def test_a_tab_where_a_word_may_begin_is_refused_by_the_loader_that_people_are_told_of() -> None:
    with pytest.raises(ModelError, match=r"tab|\\t"):
        read(Words, "words: [a]\t\n", PATH)
