"""`kpi erase`: nobody is left in objects, tables, ops, Dagster and files, and nobody comes back."""

import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet
import pytest
import urllib3

from kpi_assets_tests.cli.command import CliHarness, Output
from kpi_assets_tests.machine import free_port
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML

NAME, BUCKET, DAY, NEXT = "erased", "kpi-erased", date(2025, 4, 7), date(2025, 4, 8)
CORRECTED, HELD = date(2025, 4, 9), date(2025, 4, 10)
CANARY, OTHER = "canary.7f31@example.org", "other@example.org"
RAW = """\
/* @asset
description: Purchases as delivered.
owner: team:tests
grain: [n]
source:
  object: raw/purchases/load_date={load_date}/purchases.csv
  format: csv
subject: {customer: lower(trim(email))}
quarantine: {rows: 9}
columns:
  n: {type: integer, description: Number.}
  email: {type: text, description: Who bought., pii: email}
  spent: {type: "numeric(8,2)", description: Money.}
checks:
  not_twice: {bad_rows: "select * from {this} where spent > 50", severity: warn}
@end */
"""
VISITS = """\
/* @asset
description: Visits as delivered.
owner: team:tests
grain: [v]
source:
  object: raw/visits/load_date={load_date}/visits.json.gz
  format: json
  compression: gzip
subject: {customer: lower(trim(email))}
columns:
  v: {type: integer, description: Number.}
  email: {type: text, description: Who came., pii: email}
@end */
"""
PEOPLE = """\
/* @asset
description: Who bought, and for how much.
owner: team:tests
grain: [email]
columns:
  email: {type: text, description: Who bought.}
  spent: {type: numeric, description: Money.}
@end */
select lower(trim(email)) as email, sum(spent) as spent
from raw.purchases
where load_date = %(load_date)s
group by 1
"""
HISTORY = """\
/* @asset
description: People through time.
owner: team:tests
grain: [email]
storage: history
history: {surrogate_key: person_sk, max_changed: 1}
columns:
  email: {type: text, description: Who bought.}
  spent: {type: numeric, description: Money.}
@end */
select email, spent from marts.people where load_date = %(load_date)s
"""
TOTAL = """\
/* @asset
description: What was spent.
owner: team:tests
grain: [currency]
kpi:
  chart: {x: currency, y: spent}
  measures: {spent: {title: Spent, value: sum(spent)}}
columns:
  currency: {type: text, description: Currency.}
  spent: {type: numeric, description: Money.}
@end */
select 'EUR' as currency, sum(spent) as spent
from marts.people
where load_date = %(load_date)s
"""
# Its columns are shown to readers, and in Dagster.
SPENDERS = """\
/* @asset
description: Who spent most.
owner: team:tests
grain: [who]
kpi:
  chart: {x: who, y: spent}
  measures: {most: {title: Most, value: max(spent)}}
columns:
  who: {type: text, description: Who bought., pii: none}
  spent: {type: numeric, description: Money.}
@end */
select email as who, spent from marts.people where load_date = %(load_date)s and spent > 3
"""
FILES = {
    "raw/purchases": RAW,
    "raw/visits": VISITS,
    "marts/people": PEOPLE,
    "marts/people_through_time": HISTORY,
    "marts/total": TOTAL,
    "marts/spenders": SPENDERS,
}
HEADER = "n,email,spent\n"
FIRST = [f"1,{CANARY},60.00", f"2, {CANARY.upper()},1.00", f"3,{OTHER},4.00", f"4,{CANARY},much", f'5,"{CANARY},9']
SECOND = [f"1,{CANARY},2.00", f"2,{OTHER},8.00"]
# What a correction took the place of, before the erasure.
WRONG, RIGHT = [f"1,{CANARY},2.00", f"2,{CANARY},much", f"3,{OTHER},5.00"], [f"3,{OTHER},5.00"]
DOUBLED = [f"1,{CANARY},5.00", f"2,{OTHER},1.00", f"2,{OTHER},2.00", f"3,{CANARY},much"]
REASON = "asked to be erased by letter"
WORDS = ("--request", "REQ-1", "--reason", REASON, "--by", "ana")


def key_of(day: date) -> str:
    return f"raw/purchases/load_date={day}/purchases.csv"


def body_of(rows: list[str]) -> bytes:
    return (HEADER + "".join(f"{row}\n" for row in rows)).encode()


class Shop:
    """The pipeline of this file in the home that the tests of the command share."""

    def __init__(self, kpi: CliHarness, folder: Path) -> None:
        self.kpi, self.folder, self.sql = kpi, folder, folder / "sql"
        self.ids = folder / "ids.txt"
        self.ids.write_text(f"{CANARY}\n\n{CANARY.title()}\n")
        for name, text in FILES.items():
            path = self.sql / NAME / f"{name}.sql"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.sql / NAME / "pipeline.yaml").write_text(
            PIPELINE_YAML.format(bucket=BUCKET) + "rollback: {keep: 2, days: 14}\n"
        )
        kpi.stack.make_bucket(BUCKET)

    def __call__(self, *words: object, code: int = 0) -> Output:
        said = self.kpi(*words, code=code, KPI_SQL_DIR=str(self.sql))
        assert CANARY not in (said.out + said.err).lower()
        return said

    def land(self, day: date, rows: list[str]) -> None:
        self.kpi.s3.put_object(Bucket=BUCKET, Key=key_of(day), Body=body_of(rows))

    def land_visits(self, day: date, *emails: str) -> None:
        lines = [json.dumps({"v": number, "email": email}) for number, email in enumerate(emails)]
        key, body = f"raw/visits/load_date={day}/visits.json.gz", gzip.compress("\n".join([*lines, ""]).encode())
        self.kpi.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def body(self, key: str) -> bytes:
        return bytes(self.kpi.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def rows(self, query: str, database: str = NAME) -> list[tuple[Any, ...]]:
        url = self.kpi.stack.environment()["KPI_POSTGRES_URL"]
        with psycopg.connect(url, dbname=database, autocommit=True) as connection:
            return connection.execute(query).fetchall()

    def rows_of_admin(self, statement: str, database: str) -> None:
        url = self.kpi.stack.environment()["KPI_POSTGRES_URL"]
        with psycopg.connect(url, dbname=database, autocommit=True) as connection:
            connection.execute(statement)

    def run(self, *days: date, code: int = 0) -> None:
        for day in days:
            self("run", NAME, "--load-date", day, code=code)

    def stock(self) -> None:
        """Publish four load_dates: of one, earlier rows are kept; one was corrected since; and one is held."""
        for day, emails in ((DAY, (CANARY, OTHER)), (NEXT, (OTHER,)), (CORRECTED, (OTHER,)), (HELD, (OTHER,))):
            self.land_visits(day, *emails)
        for day, rows in (
            (DAY, [*FIRST, f"6,{CANARY},3.00"]),
            (DAY, FIRST),
            (NEXT, SECOND),
            (CORRECTED, WRONG),
            (CORRECTED, RIGHT),
        ):
            self.land(day, rows)
            self.run(day)
        self.land(HELD, DOUBLED)
        self.run(HELD, code=3)

    @contextmanager
    def served(self) -> Iterator[Callable[[str], bytes]]:
        """Yield a function that asks a running `kpi serve` for a path."""
        port, pool = free_port(), urllib3.PoolManager()
        with self.kpi.start("serve", "--port", port, KPI_SQL_DIR=str(self.sql)) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                yield lambda path: pool.request("GET", f"http://127.0.0.1:{port}{path}", timeout=60).data
            finally:
                process.terminate()
                process.communicate()

    def erase(self, *words: object, code: int = 0) -> Output:
        return self("erase", NAME, "customer", "--ids", self.ids, *WORDS, *words, code=code)

    def killed_after(self, words: str, *command: object) -> None:
        """Start `kpi erase`, and kill it as soon as it has printed some words."""
        started = self.kpi.start("erase", NAME, *command, KPI_SQL_DIR=str(self.sql), PYTHONUNBUFFERED="1")
        with started as process:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(" ".join(line.split()))
                if words in said[-1]:
                    process.kill()
                    return
            raise AssertionError(f"{words!r} was not printed: {said}")

    def objects_with_canary(self) -> list[str]:
        """Return the objects of the bucket that hold the canary, unpacked."""
        found = []
        for entry in self.kpi.s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
            body = self.body(entry["Key"])
            if CANARY.encode() in (gzip.decompress(body) if entry["Key"].endswith(".gz") else body).lower():
                found.append(entry["Key"])
        return found

    def files_with_canary(self) -> list[str]:
        """Return the files of the home that hold the canary, besides those of the backup."""
        home = self.kpi.home
        [(backup,)] = self.rows(f"select oid::text from pg_database where datname = '{NAME}_backup'")
        return [
            str(path.relative_to(home))
            for path in home.rglob("*")
            if path.is_file() and backup not in path.parts
            if any(spelling in path.read_bytes() for spelling in (CANARY.encode(), CANARY.upper().encode()))
        ]


@pytest.fixture(scope="module")
def shop(kpi: CliHarness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(kpi, tmp_path_factory.mktemp("erased"))
    made.stock()
    made.rows_of_admin(f"create database {NAME}_backup template {NAME}", "postgres")
    yield made


PEOPLE_NOW = "select load_date, email, spent::text from marts.people order by 1, 2"
ROWS = f"/api/v1/kpis/{NAME}/marts.spenders/rows?load_date={DAY}&format="
SHOWN = (
    *("/", f"/pipelines/{NAME}", f"/kpi/{NAME}/marts.spenders", f"/kpi/{NAME}/marts.spenders?load_date={DAY}"),
    *(f"/api/v1/kpis/{NAME}/marts.spenders{what}" for what in ("", "/series", "/restatements", "/checks", "/lineage")),
    *(f"{ROWS}{name}" for name in ("json", "csv")),
)


def tables_with_canary(shop: Shop) -> list[str]:
    """Return the tables of the pipeline's database, of any schema, that hold the canary."""
    names = shop.rows(
        "select n.nspname, c.relname from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace "
        "where c.relkind = 'r' and n.nspname <> 'information_schema' and n.nspname !~ '^pg_toast' order by 1, 2"
    )
    return [
        f"{schema}.{name}"
        for schema, name in names
        if shop.rows(f"select 1 from {schema}.{name} as t where position('{CANARY}' in lower(t::text)) > 0 limit 1")
    ]


def test_the_story_of_an_erasure(shop: Shop) -> None:
    assert len(shop.rows(PEOPLE_NOW)) == 5
    before, files = tables_with_canary(shop), shop.files_with_canary()
    assert {"marts.people", "marts.spenders", "ops.quarantine", "raw.purchases", "raw.visits"} <= {*before}
    assert [each for each in before if each.startswith("builds.marts__people__")], "kept"
    assert [each for each in before if each.startswith("builds.raw__purchases__")], "held"
    for place in ("pg_wal/", "s3-data/"):
        assert [each for each in files if place in each], place
    in_dagster = "select count(*) from event_logs where event ~ 'canary'"
    assert shop.rows(in_dagster, "dagster") != [(0,)]
    with shop.served() as get:
        assert CANARY.encode() in get(f"{ROWS}json")
        assert CANARY.encode() in get(f"{ROWS}csv")

        dry = shop.erase("--dry-run")
        assert "raw.purchases: 7 records in 3 objects" in dry.out
        assert "raw.visits: 1 records in 1 objects" in dry.out
        said = shop.erase("--yes", 4, code=2)
        assert "8 records are about 2 identifiers, and --yes 4 is another number: nothing was erased" in said.err
        assert shop.rows("select count(*) from ops.erasures") == [(0,)]

        done = shop.erase("--yes", 8, "--backup-days", 7)

        assert [path for path in SHOWN if CANARY.encode() in get(path).lower()] == []
        exported = pyarrow.parquet.read_table(BytesIO(get(f"{ROWS}parquet"))).to_pylist()
    assert [row["who"] for row in exported] == [OTHER]
    assert "erasure 1: 8 records are gone from 4 objects" in done.out
    assert f"through erasure 1: s3://{BUCKET}/erasures/0001.receipt.json" in done.out
    assert shop.body(key_of(DAY)) == body_of(FIRST[2:3])
    assert shop.body(key_of(NEXT)) == body_of(SECOND[1:])
    assert shop.objects_with_canary() == []
    assert shop.rows(PEOPLE_NOW) == [(DAY, OTHER, "4.00"), (NEXT, OTHER, "8.00"), (CORRECTED, OTHER, "5.00")]
    assert shop.rows("select distinct email from marts.people_through_time") == [(OTHER,)]
    current = f"superseded_at is null and load_date <= '{NEXT}' and cause is not null"
    causes = f"select distinct cause from ops.publishes where {current}"
    assert shop.rows(causes) == [("erasure",)]
    receipt = json.loads(shop.body("erasures/0001.receipt.json"))
    assert [(each["records_before"], each["erased"], each["records_after"]) for each in receipt["objects"]] == [
        (5, 4, 1),
        (2, 1, 1),
        (4, 2, 2),
        (2, 1, 1),
    ]
    assert receipt["files_not_written_anew"] == []
    assert len(receipt["dagster_runs_deleted"]) == 4
    assert receipt["wal"] == "deleted"
    assert receipt["object_store"] == "vacuumed: the bytes of the old objects are gone from its disk"

    shop("erase", NAME, "--verify", 1, "--ids", shop.ids)
    assert tables_with_canary(shop) == []
    assert shop.rows(in_dagster, "dagster") == [(0,)]
    assert shop.files_with_canary() == []
    listed = " ".join(shop("erase", NAME, "--list").out.split())
    assert "customer" in listed
    assert "not yet" not in listed
    assert "every erasure is through" in shop("erase", NAME, "--apply").out


def test_nobody_comes_back_by_replay_backfill_or_another_delivery(shop: Shop) -> None:
    shop.land(NEXT, [*SECOND, "3,third@example.org,1.00"])
    shop.run(NEXT)
    shop("backfill", NAME, "--from", DAY, "--to", NEXT)
    assert [email for _, email, _ in shop.rows(PEOPLE_NOW)] == [OTHER, OTHER, "third@example.org", OTHER]
    message = (
        "select message from ops.data_quality_results where check_name = 'rows_accounted' "
        "and table_name = 'raw.purchases' order by id desc limit 1"
    )
    assert shop.rows(message) == [("3 records in the object = 2 loaded + 0 in quarantine + 1 erased",)]
    alerts = "select details[1] from ops.alerts where kind = 'erased'"
    assert len(shop.rows(alerts)) == 1
    found = shop("erase", NAME, "--verify", 1, "--ids", shop.ids, code=1)
    assert "has 1 records of erased persons" in found.out
    assert "erasure 2: 1 records are gone from 1 objects" in shop.erase("--yes", 1).out
    shop("erase", NAME, "--verify", 1, "--ids", shop.ids)


def test_a_row_or_a_receipt_that_is_put_back_by_hand_is_found(shop: Shop) -> None:
    shop.rows(f"insert into marts.people values ('{DAY}', '{CANARY}', 1) returning 1")
    found = shop("erase", NAME, "--verify", 1, "--ids", shop.ids, code=1)
    assert "marts.people has 1 rows of erased persons" in found.out
    shop.rows(f"delete from marts.people where email = '{CANARY}' returning 1")
    kept = shop.body("erasures/0001.receipt.json")
    shop.kpi.s3.put_object(Bucket=BUCKET, Key="erasures/0001.receipt.json", Body=kept.replace(b"REQ-1", b"REQ-2"))
    found = shop("erase", NAME, "--verify", 1, "--ids", shop.ids, code=1)
    assert "erasures/0001.receipt.json is not the receipt that was written" in found.out
    shop.kpi.s3.put_object(Bucket=BUCKET, Key="erasures/0001.receipt.json", Body=kept)
    second = json.loads(shop.body("erasures/0002.receipt.json"))
    assert second["receipt_before"] == hashlib.sha256(kept).hexdigest()


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


def test_a_database_that_is_restored_has_them_until_the_erasures_are_applied(shop: Shop) -> None:
    postgres = "postgres"
    shop.rows_of_admin(f"drop database {NAME} with (force)", postgres)
    shop.rows_of_admin(f"alter database {NAME}_backup rename to {NAME}", postgres)
    assert len(shop.rows(f"select from marts.people where email = '{CANARY}'")) == 2
    plan = shop("plan", NAME, code=0)
    assert f"erasure erasures 1, 2 are not applied to this database: `kpi erase {NAME} --apply` goes on." in plan.out
    with shop.served() as get:
        assert CANARY.encode() in get(f"{ROWS}json")  # nobody has looked at S3 yet
        why = (
            f"Nothing is built for {NAME}, since erasures 1, 2 are not applied to this database: "
            f"`kpi erase {NAME} --apply` goes on."
        )
        for words in (("run", NAME, "--load-date", DAY), ("backfill", NAME, "--from", DAY, "--to", NEXT)):
            assert why in " ".join(shop(*words, code=1).err.split())
        refused = json.loads(get(f"{ROWS}json"))
        assert refused["detail"] == (
            f"The database '{NAME}' was restored from before persons were erased, and still has them: "
            f"`kpi erase {NAME} --apply` erases them."
        )
        shop("erase", NAME, "--apply")
        assert OTHER.encode() in get(f"{ROWS}json")
    shop("erase", NAME, "--verify", 1, "--ids", shop.ids)
    assert tables_with_canary(shop) == []
    assert "not applied" not in shop("plan", NAME).out


def test_who_is_killed_between_two_steps_goes_on(shop: Shop) -> None:
    shop.land(NEXT, [*SECOND, f"5,{CANARY},7.00"])
    [(number,)] = shop.rows("select count(*) + 1 from ops.erasures")
    counted = re.search(r"--yes ([0-9]+)", shop.erase("--dry-run").out)
    assert counted
    total = int(counted[1])
    shop.killed_after(f"erased erasure {number}", "customer", "--ids", shop.ids, *WORDS, "--yes", total)
    shop.killed_after("records are gone from", "--apply")
    shop.killed_after(f"published {NAME}, load_date {NEXT}", "--apply")
    assert "not yet" in shop("erase", NAME, "--list").out
    assert f"through erasure {number}" in " ".join(shop("erase", NAME, "--apply").out.split())
    receipt = json.loads(shop.body(f"erasures/{number:04}.receipt.json"))
    assert sum(each["erased"] for each in receipt["objects"]) == total
    assert all(each["records_before"] - each["erased"] == each["records_after"] for each in receipt["objects"])
    shop("erase", NAME, "--verify", number, "--ids", shop.ids)
