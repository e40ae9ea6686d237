"""`kpi erase` where readers see a load_date by a person's word: it is not through before somebody speaks again."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kpi_assets_tests.cli.command import CliHarness, Output
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML

NAME, BUCKET = "ruled", "kpi-ruled"
WAIVED, CONDEMNED, EARLIER = date(2025, 4, 7), date(2025, 4, 8), date(2025, 4, 9)
PERSON, OTHER = "canary.7f31@example.org", "other@example.org"
REASON = "the tills were wrong that day"
RAW = """\
/* @asset
description: Purchases as delivered.
owner: team:tests
grain: [n]
source:
  object: raw/purchases/load_date={load_date}/purchases.csv
  format: csv
subject: {customer: email}
columns:
  n: {type: integer, description: Number.}
  email: {type: text, description: Who bought., pii: email}
  spent: {type: "numeric(8,2)", description: Money.}
checks:
  range: {spent: [0, 50]}
@end */
"""
PEOPLE = """\
/* @asset
description: Who bought, and for how much.
owner: team:tests
grain: [email]
columns:
  email: {type: text, description: Who bought.}
  spent: {type: "numeric(8,2)", description: Money.}
@end */
select email, sum(spent)::numeric(8,2) as spent
from raw.purchases
where load_date = %(load_date)s
group by 1
"""


class Shop:
    """The pipeline of this file."""

    def __init__(self, kpi: CliHarness, folder: Path) -> None:
        self.kpi, self.sql, self.ids = kpi, folder / "sql", folder / "ids.txt"
        self.ids.write_text(f"{PERSON}\n")
        for name, text in (("raw/purchases", RAW), ("marts/people", PEOPLE)):
            path = self.sql / NAME / f"{name}.sql"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.sql / NAME / "pipeline.yaml").write_text(
            PIPELINE_YAML.format(bucket=BUCKET) + "rollback: {keep: 2, days: 14}\n"
        )
        kpi.stack.make_bucket(BUCKET)

    def __call__(self, *words: object, code: int = 0) -> Output:
        return self.kpi(*words, code=code, KPI_SQL_DIR=str(self.sql))

    def deliver(self, day: date, *rows: str, code: int = 0) -> None:
        """Land an object, and run its load_date."""
        body = "n,email,spent\n" + "".join(f"{row}\n" for row in rows)
        self.kpi.s3.put_object(Bucket=BUCKET, Key=f"raw/purchases/load_date={day}/purchases.csv", Body=body.encode())
        self("run", NAME, "--load-date", day, code=code)

    def erase(self, records: int, code: int) -> str:
        words = ("--ids", self.ids, "--request", "REQ-1", "--reason", "asked to be erased", "--yes", records)
        return _said(self("erase", NAME, "customer", *words, code=code))

    def go_on(self, code: int) -> str:
        return _said(self("erase", NAME, "--apply", code=code))

    def state(self, day: date) -> str:
        [(state,)] = self.rows(
            f"select status from ops.pipeline_runs where load_date = '{day}' order by id desc limit 1"
        )
        return str(state)

    def people(self, day: date) -> list[tuple[Any, ...]]:
        """Return what readers see."""
        return self.rows(f"select email, spent::text from marts.people where load_date = '{day}' order by 1")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.kpi.rows(query, database=NAME)

    def publishes(self, day: date, asset: str) -> list[int]:
        which = f"asset = '{asset}' and load_date = '{day}' order by 1"
        return [number for (number,) in self.rows(f"select publish_id from ops.publishes where {which}")]


def _said(output: Output) -> str:
    """Return both streams as one line."""
    return " ".join((output.out + output.err).split())


@pytest.fixture
def shop(kpi: CliHarness, tmp_path: Path) -> Iterator[Shop]:
    """The pipeline, without a database and without objects."""
    made = Shop(kpi, tmp_path)
    yield made
    kpi.execute(f"drop database if exists {NAME} with (force)", database="postgres")
    for entry in kpi.s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        kpi.s3.delete_object(Bucket=BUCKET, Key=entry["Key"])


@pytest.mark.nightly
def test_a_waived_load_date_is_held_without_the_persons_until_it_is_waived_again(shop: Shop) -> None:
    shop.deliver(WAIVED, f"1,{PERSON},2.00", f"2,{OTHER},60.00", code=3)
    words = ("raw.purchases", "--load-date", WAIVED, "--check", "range__spent", "--reason", "a wedding, says the till")
    shop("waive", NAME, *words)
    shop("run", NAME, "--load-date", WAIVED)
    seen = [(PERSON, "2.00"), (OTHER, "60.00")]
    assert shop.people(WAIVED) == seen

    said = shop.erase(1, code=1)
    assert "held raw.purchases: held by range__spent; " in said
    assert f"Not through (load_dates that are not published without the persons: {WAIVED}): mend that" in said
    assert shop.people(WAIVED) == seen
    assert "marts.people has 1 rows of erased persons" in shop.go_on(code=1)

    shop("waive", NAME, *words)
    done = shop.go_on(code=0)
    assert f"published {NAME}, load_date {WAIVED}" in done
    assert f"through erasure 1: s3://{BUCKET}/erasures/0001.receipt.json" in done
    assert shop.people(WAIVED) == [(OTHER, "60.00")]
    assert shop.rows("select count(*)::int, count(used_at)::int from ops.rulings") == [(2, 2)]
    shop("erase", NAME, "--verify", 1, "--ids", shop.ids)


CORRECTED = [(OTHER, "3.00")]
REVOKED = [(OTHER, "20.00")]


@pytest.mark.nightly
@pytest.mark.parametrize(("seen", "is_revoked"), [(CORRECTED, False), (REVOKED, True)])
def test_what_was_rolled_back_stays_out_until_it_is_corrected_or_its_ruling_is_revoked(
    shop: Shop, seen: list[tuple[str, str]], is_revoked: bool
) -> None:
    shop.deliver(CONDEMNED, f"1,{PERSON},1.00", f"2,{OTHER},2.00")
    shop.deliver(CONDEMNED, f"1,{PERSON},10.00", f"2,{OTHER},20.00")
    first = shop.publishes(CONDEMNED, "raw.purchases")[0]
    shop("rollback", NAME, "--load-date", CONDEMNED, "--to", first, "--reason", REASON, "--by", "ana", "--yes")
    good = [(PERSON, "1.00"), (OTHER, "2.00")]
    assert shop.people(CONDEMNED) == good

    said = shop.erase(1, code=1)
    assert re.search(
        rf"held raw.purchases: held by not_ruled_out \(kept out by ana on [0-9: -]+ UTC: {REASON}\); ", said
    )
    assert f"load_dates that are not published without the persons: {CONDEMNED}" in said
    shop("run", NAME, "--load-date", CONDEMNED, code=3)
    assert "marts.people has 1 rows of erased persons" in shop.go_on(code=1)
    assert shop.people(CONDEMNED) == good, "readers see what the rollback showed"

    if is_revoked:
        shop("revoke", NAME, 1, "--reason", "the tills were right after all")
    else:
        shop.deliver(CONDEMNED, f"2,{OTHER},3.00")
    assert "through erasure 1: " in shop.go_on(code=0)
    assert shop.people(CONDEMNED) == seen
    shop("erase", NAME, "--verify", 1, "--ids", shop.ids)


@pytest.mark.nightly
def test_nobody_is_rolled_back_to_rows_of_before_the_erasure(shop: Shop) -> None:
    for spent in (1, 10):
        shop.deliver(EARLIER, f"1,{PERSON},{spent}.00", f"2,{OTHER},{2 * spent}.00")
    first, second = shop.publishes(EARLIER, "raw.purchases")
    kept = "select count(*)::int from ops.versions where relation is not null"
    assert shop.rows(kept) == [(2,)]
    assert "through erasure 1: " in shop.erase(1, code=0)
    assert shop.people(EARLIER) == [(OTHER, "20.00")]
    assert shop.rows(kept) == [(0,)]
    for publish in (first, second):
        words = ("rollback", NAME, "--load-date", EARLIER, "--to", publish, "--reason", REASON, "--yes")
        said = " ".join(shop(*words, code=1).err.split())
        assert (
            "raw.purchases (those rows are not kept any more); marts.people (those rows are not kept any more)" in said
        )
        assert "nothing was changed" in said
    assert shop.people(EARLIER) == [(OTHER, "20.00")]
    assert shop.rows(f"select count(*)::int from raw.purchases where email = '{PERSON}'") == [(0,)]
    shop("erase", NAME, "--verify", 1, "--ids", shop.ids)
