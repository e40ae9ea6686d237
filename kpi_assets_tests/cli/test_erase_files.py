"""The files of the embedded servers after `kpi erase`: no byte of an erased person is in them, packed or not.

What commands print of that home and all its pages are read, too. Not here: what an erasure does (test_erase.py).
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.cli.erasing import CANARY, CORRECTED, DAY, NAME, OTHER, Shop

pytestmark = pytest.mark.nightly  # reads every file of a home several times
LARGE = date(2025, 4, 5)
# Postgres puts a byte between the letters of a long value that it packs, one for each eight of what it has not met yet.
SPREAD = re.compile(b".?".join(re.escape(bytes([letter])) for letter in CANARY.split("@")[0].encode()), re.S)
MAGIC = re.compile(re.escape(b"\x1f\x8b\x08"))
# Long values, in a table whose load_dates share one file.
LETTERS = """\
/* @asset
description: What people wrote.
owner: team:tests
grain: [n]
storage: rows
columns:
  n: {type: integer, description: Number.}
  email: {type: text, description: Who wrote.}
  letter: {type: text, description: What was written., pii: text}
@end */
select n, lower(trim(email)) as email, 'From ' || email || repeat(' It was a letter.', 1000) as letter
from raw.purchases
where load_date = %(load_date)s and n %% 1000 < 3
"""


def unpacked(body: bytes) -> Iterator[bytes]:
    """Yield what gzip has packed somewhere in a file."""
    for begin in MAGIC.finditer(body):
        try:
            yield zlib.decompressobj(wbits=31).decompress(memoryview(body)[begin.start() :])
        except zlib.error:
            continue  # three bytes of something else


def holds(body: bytes) -> bool:
    """Return whether bytes hold the canary, in letters of any size."""
    return any(SPREAD.search(each.lower()) for each in (body, *unpacked(body)))


def holding(folder: Path) -> list[str]:
    """Return the files below a folder that hold the canary."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and holds(path.read_bytes())
    ]


def folder_of(shop: Shop, database: str) -> str:
    [(oid,)] = shop.rows(f"select oid::text from pg_database where datname = '{database}'")
    return f"base/{oid}"


def test_packed_bytes_are_found_too() -> None:
    assert holds(b"xx" + gzip.compress(b"email\n" + CANARY.encode()) + b"yy")
    assert holds(b"\0canary.7\xff" + b"f31")
    assert not holds(gzip.compress(OTHER.encode()) + MAGIC.pattern)


def test_no_file_holds_a_person_who_was_erased(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Stack(home) as stack:
        shop = Shop(CliHarness(stack, tmp_path), tmp_path)
        (shop.sql / NAME / "marts/letters.sql").write_text(LETTERS)
        shop.land(LARGE, [f"{n},{CANARY if n == 7000 else f'{n}@example.org'},{n % 50}.00" for n in range(20_000)])
        shop.land_visits(LARGE, *(CANARY if n == 7000 else f"{n}@example.org" for n in range(20_000)))
        shop.run(LARGE)
        shop.stock()
        shop.correct()
        shop.decide()
        cluster, store = home / "postgres", home / "s3-data"
        assert holding(cluster / "pg_wal") != []
        assert holding(store) != []
        shop.kpi.execute("checkpoint", database=NAME)
        for database in (NAME, "dagster"):
            assert holding(cluster / folder_of(shop, database)) != [], database
        assert shop.rows("select from marts.letters where pg_column_compression(letter) is not null") != []

        assert {
            "kpi show raw.purchases csv": 3,
            "kpi show marts.people csv": 1,
            "kpi quarantine export": 2,
        }.items() <= shop.printed().items()
        assert any("/kpi/" in path for path in shop.pages())

        shop.erase("--yes", 10)

        assert holding(home) == []
        shop("erase", NAME, "--verify", 1, "--ids", shop.ids)
        note = home / "a note"
        note.write_text(f"They were called {CANARY.upper()}.")
        said = shop("erase", NAME, "--verify", 1, "--ids", shop.ids, code=1).out
        assert f"left the file {note} has the text of an identifier" in " ".join(said.split())
        note.unlink()
        assert shop.tables_with_canary() == []
        assert shop.events_with_canary() == 0
        assert shop.objects_with_canary() == []
        assert shop.printed() == {}
        assert shop.pages() == {}
        shop("backfill", NAME, "--from", LARGE, "--to", CORRECTED)
        assert holding(home) == []
    with Stack(home) as stack:
        shop.kpi = CliHarness(stack, tmp_path)
        shop.kpi.execute("checkpoint", database=NAME)
        assert holding(home) == []
        assert shop.rows(f"select count(*) from marts.people where load_date = '{DAY}'") == [(1,)]
