"""`kpi erase`: nobody is left in objects, tables, ops, Dagster and pages, and nobody comes back.

Not here: the bytes in files (test_erase_files.py).
"""

import hashlib
import json
import re
from collections.abc import Iterator
from io import BytesIO

import pyarrow.parquet
import pytest

from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.cli.erasing import (
    BUCKET,
    CANARY,
    DAY,
    DECISIONS,
    FIRST,
    HELD,
    NAME,
    NEXT,
    OTHER,
    PEOPLE_NOW,
    REASON,
    ROWS,
    SECOND,
    SHOWN,
    WORDS,
    Shop,
    body_of,
    key_of,
)

RECEIPT = "erasures/0001.receipt.json"
RUNS = "select load_date, rows_extracted, rows_loaded_raw, rows_quarantined, rows_erased from ops.pipeline_runs "


@pytest.fixture(scope="module")
def shop(kpi: CliHarness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(kpi, tmp_path_factory.mktemp("erased"))
    made.stock()
    made.decide()
    kpi.execute(f"create database {NAME}_backup template {NAME}", database="postgres")
    yield made


@pytest.fixture
def erased(shop: Shop) -> Shop:
    """The pipeline, from which the canary is erased."""
    if shop.rows("select from ops.erasures") == []:
        shop.erase("--yes", 8)
    return shop


def test_what_would_be_erased_is_counted_and_the_number_is_asked_for(shop: Shop) -> None:
    dry = shop.erase("--dry-run")
    assert "raw.purchases: 7 records in 3 objects" in dry.out
    assert "raw.visits: 1 records in 1 objects" in dry.out
    said = shop.erase("--yes", 4, code=2)
    assert "8 records are about 2 identifiers, and --yes 4 is another number: nothing was erased" in said.err
    assert shop.rows("select count(*) from ops.erasures") == [(0,)]


@pytest.mark.nightly
def test_the_story_of_an_erasure(shop: Shop) -> None:
    assert len(shop.rows(PEOPLE_NOW)) == 4
    before, decisions = shop.tables_with_canary(), shop.body(DECISIONS).splitlines(keepends=True)
    assert {"marts.people", "marts.spenders", "ops.quarantine", "raw.purchases", "raw.visits"} <= {*before}
    assert [each for each in before if each.startswith("builds.marts__people__")], "kept"
    assert [each for each in before if each.startswith("builds.raw__purchases__")], "held"
    assert shop.events_with_canary() > 0
    with shop.served() as get:
        assert CANARY.encode() in get(f"{ROWS}json")
        assert CANARY.encode() in get(f"{ROWS}csv")

        done = shop.erase("--yes", 8, "--backup-days", 7)

        assert [path for path in SHOWN if CANARY.encode() in get(path).lower()] == []
        exported = pyarrow.parquet.read_table(BytesIO(get(f"{ROWS}parquet"))).to_pylist()
    assert [row["who"] for row in exported] == [OTHER]
    assert "erasure 1: 8 records are gone from 4 objects" in done.out
    assert "erasure 1: 1 decisions on records or rows are gone" in done.out
    assert f"through erasure 1: s3://{BUCKET}/{RECEIPT}" in done.out
    assert shop.body(key_of(DAY)) == body_of([FIRST[2], FIRST[4]])
    assert shop.body(key_of(NEXT)) == body_of(SECOND[1:])
    assert shop.body(DECISIONS) == b"\n" + decisions[1]
    assert shop.objects_with_canary() == []
    assert shop.rows(PEOPLE_NOW) == [(DAY, OTHER, "9.00"), (NEXT, OTHER, "8.00")]
    assert shop.rows("select distinct email from marts.people_through_time") == [(OTHER,)]
    causes = "select distinct cause from ops.publishes where superseded_at is null and cause is not null"
    assert shop.rows(causes) == [("erasure",)]
    receipt = json.loads(shop.body(RECEIPT))
    assert [(each["records_before"], each["erased"], each["records_after"]) for each in receipt["objects"]] == [
        (6, 4, 2),
        (2, 1, 1),
        (4, 2, 2),
        (2, 1, 1),
    ]
    assert receipt["emptied"]["decisions"] == 1
    # The records before are those that are loaded, in quarantine, and erased.
    assert shop.rows(f"{RUNS} where job = 'raw.purchases' and load_date <> '{HELD}' order by id") == [
        (DAY, 7, 4, 3, None),
        (DAY, 6, 3, 3, None),
        (NEXT, 2, 2, 0, None),
        (DAY, 6, 5, 1, None),
        (DAY, 2, 2, 0, 0),
        (NEXT, 1, 1, 0, 0),
    ]
    assert receipt["files_not_written_anew"] == []
    assert len(receipt["dagster_runs_deleted"]) == 5
    assert receipt["versions_of_decisions_kept"] == []
    assert receipt["wal"] == "deleted"
    assert receipt["object_store"] == "vacuumed: the bytes of the old objects are gone from its disk"

    shop("erase", NAME, "--verify", 1, "--ids", shop.ids)
    assert shop.tables_with_canary() == []
    assert shop.events_with_canary() == 0
    listed = " ".join(shop("erase", NAME, "--list").out.split())
    assert "customer" in listed
    assert "not yet" not in listed
    assert "every erasure is through" in shop("erase", NAME, "--apply").out


@pytest.mark.nightly
def test_nobody_comes_back_by_replay_backfill_or_another_delivery(erased: Shop) -> None:
    erased.land(NEXT, [*SECOND, "3,third@example.org,1.00"])
    erased.run(NEXT)
    erased("backfill", NAME, "--from", DAY, "--to", NEXT)
    assert [email for _, email, _ in erased.rows(PEOPLE_NOW)] == [OTHER, OTHER, "third@example.org"]
    message = (
        "select message from ops.data_quality_results where check_name = 'rows_accounted' "
        "and table_name = 'raw.purchases' order by id desc limit 1"
    )
    assert erased.rows(message) == [("3 records in the object = 2 loaded + 0 in quarantine + 1 erased",)]
    alerts = "select details[1] from ops.alerts where kind = 'erased'"
    assert len(erased.rows(alerts)) == 1
    found = erased("erase", NAME, "--verify", 1, "--ids", erased.ids, code=1)
    assert "has 1 records of erased persons" in found.out
    assert "erasure 2: 1 records are gone from 1 objects" in erased.erase("--yes", 1).out
    erased("erase", NAME, "--verify", 1, "--ids", erased.ids)
    second = json.loads(erased.body("erasures/0002.receipt.json"))
    assert second["receipt_before"] == hashlib.sha256(erased.body(RECEIPT)).hexdigest()


@pytest.mark.nightly
def test_a_row_or_a_receipt_that_is_put_back_by_hand_is_found(erased: Shop) -> None:
    erased.rows(f"insert into marts.people values ('{DAY}', '{CANARY}', 1) returning 1")
    found = erased("erase", NAME, "--verify", 1, "--ids", erased.ids, code=1)
    assert "marts.people has 1 rows of erased persons" in found.out
    erased.rows(f"delete from marts.people where email = '{CANARY}' returning 1")
    kept = erased.body(RECEIPT)
    erased.put(RECEIPT, kept.replace(b"REQ-1", b"REQ-2"))
    found = erased("erase", NAME, "--verify", 1, "--ids", erased.ids, code=1)
    assert f"{RECEIPT} is not the receipt that was written" in found.out
    erased.put(RECEIPT, kept)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("customer",), "The persons are not named: give with --ids a file with one identifier on each line, or -."),
        ((), "nothing is given: give a KIND to erase persons, or one of --verify, --apply and --list."),
        (("--list", "--apply"), "--apply and --list is given: give a KIND to erase persons, or one of --verify, "),
        (("seller", "--ids", "IDS", *WORDS), "No table of erased names persons of the kind 'seller'"),
        (("customer", "--ids", "none.txt", *WORDS), "The file of --ids cannot be read (No such file or directory): "),
        (("customer", "--ids", "IDS", "--reason", REASON), "The request has no name: give with --request what "),
        (
            ("customer", "--ids", "IDS", "--request", "R", "--reason", "short"),
            "The reason has fewer than 10 characters",
        ),
        (("--verify", 77, "--ids", "IDS"), "There is no erasure 77: `kpi erase erased --list` prints them."),
    ],
)
def test_what_is_asked_for_in_a_wrong_way(shop: Shop, words: tuple[object, ...], said: str) -> None:
    given = [shop.ids if word == "IDS" else word for word in words]
    assert said in " ".join(shop("erase", NAME, *given, code=2).err.split())


@pytest.mark.nightly
def test_a_database_that_is_restored_has_them_until_the_erasures_are_applied(erased: Shop) -> None:
    numbers = [number for (number,) in erased.rows("select erasure from ops.erasures order by 1")]
    erased.kpi.execute(
        f"drop database {NAME} with (force)", f"alter database {NAME}_backup rename to {NAME}", database="postgres"
    )
    assert len(erased.rows(f"select from marts.people where email = '{CANARY}'")) == 2
    which = "erasure 1 is" if numbers == [1] else f"erasures {', '.join(map(str, numbers))} are"
    behind = f"{which} not applied to this database: `kpi erase {NAME} --apply` goes on."
    assert behind in erased("plan", NAME, code=0).line("not applied")
    with erased.served() as get:
        assert CANARY.encode() in get(f"{ROWS}json")  # nobody has looked at S3 yet
        for words in (("run", NAME, "--load-date", DAY), ("backfill", NAME, "--from", DAY, "--to", NEXT)):
            said = " ".join(erased(*words, code=1).err.split())
            assert f"Nothing is built for {NAME}, since {behind}" in said
        refused = json.loads(get(f"{ROWS}json"))
        assert refused["detail"] == (
            f"The database '{NAME}' was restored from before persons were erased, and still has them: "
            f"`kpi erase {NAME} --apply` erases them."
        )
        erased("erase", NAME, "--apply")
        assert OTHER.encode() in get(f"{ROWS}json")
    erased("erase", NAME, "--verify", 1, "--ids", erased.ids)
    assert erased.tables_with_canary() == []
    assert "not applied" not in erased("plan", NAME, code=3).out, "one load_date is held"


@pytest.mark.nightly
def test_who_is_killed_between_two_steps_goes_on(erased: Shop) -> None:
    erased.land(NEXT, [*SECOND, "4,fourth@example.org,3.00", f"5,{CANARY},7.00"])
    [(number,)] = erased.rows("select count(*) + 1 from ops.erasures")
    counted = re.search(r"--yes ([0-9]+)", erased.erase("--dry-run").out)
    assert counted
    total = int(counted[1])
    erased.killed_after(f"erased erasure {number}", "customer", "--ids", erased.ids, *WORDS, "--yes", total)
    erased.killed_after("records are gone from", "--apply")
    erased.killed_after(f"published {NAME}, load_date {NEXT}", "--apply")
    assert "not yet" in erased("erase", NAME, "--list").out
    assert f"through erasure {number}" in " ".join(erased("erase", NAME, "--apply").out.split())
    receipt = json.loads(erased.body(f"erasures/{number:04}.receipt.json"))
    assert sum(each["erased"] for each in receipt["objects"]) == total
    assert all(each["records_before"] - each["erased"] == each["records_after"] for each in receipt["objects"])
    erased("erase", NAME, "--verify", number, "--ids", erased.ids)


@pytest.mark.nightly
def test_nobody_comes_back_if_the_database_is_lost(erased: Shop) -> None:
    published = (
        "select asset, load_date, rows, checksum from ops.published where asset not like 'decisions.%' order by 1, 2"
    )
    numbers = "select erasure, kind, request, erased_by, erased_at, keys, object_key from ops.erasures order by 1"
    before, erasures = erased.rows(published), erased.rows(numbers)
    receipts = [erased.body(f"erasures/{number:04}.receipt.json") for number, *_ in erasures]
    erased.kpi.execute(f"drop database {NAME} with (force)", database="postgres")

    erased("backfill", NAME, "--from", DAY, "--to", HELD, code=3)

    assert erased.rows(published) == before, "S3 has the same rows, without the persons"
    assert erased.rows(numbers) == erasures
    assert erased.tables_with_canary() == []
    erased("erase", NAME, "--apply")
    erased("erase", NAME, "--verify", 1, "--ids", erased.ids)
    assert [erased.body(f"erasures/{number:04}.receipt.json") for number, *_ in erasures] == receipts
