"""An erasure on S3: what it says, what it keeps to itself, and what is refused as one."""

import json
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from kpi_assets.model.erasure import ErasedKey, Erasure, ErasureError, Salted, mark_of, read_erasure

SALT = "a salt of thirty-two characters.."
AT = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
ERASURE = Erasure(
    "shop", "customer", "REQ-7", "they asked for it", "ana", AT, mark_of(SALT), (ErasedKey(b"h" * 32, -5, "0a1b"),), 12
)


def test_what_is_written_is_read_again() -> None:
    assert read_erasure(ERASURE.body(), "erasures/0012.json", 12) == ERASURE


def test_hashes_differ_by_salt_pipeline_and_kind_and_are_no_hash_of_the_value_alone() -> None:
    salts = [(SALT, "shop", "customer"), (SALT, "shop", "seller"), (SALT, "shops", "customer"), ("b" * 32, "shop", "c")]
    made = [Salted.of(*each) for each in salts]
    assert len({each.hash("7") for each in made}) == len({each.seed for each in made}) == 4
    assert made[0] == Salted.of(*salts[0])
    assert SALT not in repr(made[0])
    assert "prefix" not in repr(made[0])
    assert SALT not in mark_of(SALT)


@pytest.mark.parametrize(
    "change",
    [
        {"keys": [{"hash": "00", "quick": 1, "alias": "a"}]},
        {"keys": [{"hash": "00" * 32, "quick": 2**63, "alias": "a"}]},
        {"keys": [{"hash": "00" * 32, "quick": 1}]},
        {"keys": "x"},
        {"keys": None},
        {"kind": ""},
        {"at": "yesterday"},
        {"more": 1},
    ],
)
def test_anything_else_is_refused_because_a_person_could_come_back(change: dict[str, object]) -> None:
    body = json.dumps({**json.loads(ERASURE.body()), **change}).encode()
    for each in (body, b"[]", b"", b"\xff"):
        with pytest.raises(ErasureError, match=r"erasures/0012\.json is no erasure") as error:
            read_erasure(each, "erasures/0012.json", 12)
        assert "REQ-7" not in str(error.value)


def test_the_key_in_rows_that_stay_is_the_same_everywhere() -> None:
    [key] = replace(ERASURE, number=13).keys
    assert key.replacement == "erased-0a1b"
