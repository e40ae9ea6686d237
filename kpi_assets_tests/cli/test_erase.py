"""`kpi erase`: nobody is left in objects, tables, ops, Dagster and files, and nobody comes back."""

import hashlib
import html
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import settings
from kpi_assets_tests.cli.command import CliHarness, Output
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML
from kpi_assets_tests.surface.server import serving

NAME, BUCKET, DAY, NEXT = "erased", "kpi-erased", date(2025, 4, 7), date(2025, 4, 8)
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
FILES = {"raw/purchases": RAW, "marts/people": PEOPLE, "marts/people_through_time": HISTORY, "marts/total": TOTAL}
HEADER = "n,email,spent\n"
BAD = [f"4,{CANARY},much", f"6,{OTHER},lots"]  # on lines 5 and 6
FIRST = [f"1,{CANARY},60.00", f"2, {CANARY.upper()},1.00", f"3,{OTHER},4.00", *BAD, f'5,"{CANARY},9']
SECOND = [f"1,{CANARY},2.00", f"2,{OTHER},8.00"]
REASON = "asked to be erased by letter"
WORDS = ("--request", "REQ-1", "--reason", REASON, "--by", "ana")


def key_of(day: date) -> str:
    return f"raw/purchases/load_date={day}/purchases.csv"


def body_of(rows: list[str]) -> bytes:
    return (HEADER + "".join(f"{row}\n" for row in rows)).encode()


def lines_of(body: bytes) -> int:
    """Return how many lines hold the canary."""
    return sum(CANARY in line.decode(errors="replace").lower() for line in body.splitlines())


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
        (self.sql / NAME / "pipeline.yaml").write_text(PIPELINE_YAML.format(bucket=BUCKET))
        kpi.stack.make_bucket(BUCKET)

    def __call__(self, *words: object, code: int = 0) -> Output:
        said = self.kpi(*words, code=code, KPI_SQL_DIR=str(self.sql))
        assert CANARY not in (said.out + said.err).lower()
        return said

    def land(self, day: date, rows: list[str]) -> None:
        self.kpi.s3.put_object(Bucket=BUCKET, Key=key_of(day), Body=body_of(rows))

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

    def run(self, *days: date) -> None:
        for day in days:
            self("run", NAME, "--load-date", day)

    def decide(self) -> None:
        """Correct the two records of DAY that have no number, and build it again."""
        asked = self.folder / "decided.jsonl"
        corrected = {bad: f"{bad[: bad.rindex(',')]},5.00" for bad in BAD}
        rows = self.rows("select id, record from ops.bad_rows where table_name = 'raw.purchases' order by line")
        asked.write_text(
            "".join(
                json.dumps({"id": id_, "set": {"record": corrected[record]}}) + "\n"
                for id_, record in rows
                if record in corrected
            )
        )
        self("quarantine", "correct", NAME, "--from", asked, "--reason", "the till said so", "--by", "ana")
        asked.unlink()
        self.run(DAY)

    def places(self) -> dict[str, int]:
        """Return how many rows, lines of objects and of files, and lines that commands print hold the canary."""
        found = Counter[str]()
        databases = "select datname from pg_database where datallowconn and datname not like '%_backup'"
        tables = (
            "select quote_ident(schemaname) || '.' || quote_ident(tablename) from pg_tables "
            "where schemaname not in ('pg_catalog', 'information_schema')"
        )
        for (database,) in self.rows(databases):
            for (table,) in self.rows(tables, database):
                like = f"select count(*) from {table} as t where t::text ilike '%{CANARY}%'"
                found[table if database == NAME else f"{database}: {table}"] = self.rows(like, database)[0][0]
        for entry in self.kpi.s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
            found[entry["Key"]] = lines_of(self.body(entry["Key"]))
        home = self.kpi.home
        for path in (each for each in home.rglob("*") if each.is_file()):
            if path.relative_to(home).parts[0] not in ("postgres", "s3-data"):
                found[str(path.relative_to(home))] = lines_of(path.read_bytes())
        for table in ("raw.purchases", "marts.people"):
            for style in ("csv", "json"):
                words = ("show", NAME, table, "--load-date", DAY, "--pii", "--format", style)
                found[f"kpi show {table} {style}"] = lines_of(self.kpi(*words, KPI_SQL_DIR=str(self.sql)).out.encode())
        out = self.folder / "exported.jsonl"
        words = ("quarantine", "export", NAME, "--out", out, "--pii")
        self.kpi(*words, KPI_SQL_DIR=str(self.sql))
        found["kpi quarantine export"] = lines_of(out.read_bytes())
        out.unlink()
        found.update(self.pages())
        return {place: count for place, count in found.items() if count}

    def pages(self) -> dict[str, int]:
        """Return how many lines of each page, and of each answer of the API, hold the canary."""
        url, kpi = SecretStr(self.kpi.servers["KPI_POSTGRES_URL"]), f"/api/v1/kpis/{NAME}/total"
        wanted = ["/", "/metrics", "/api/v1/kpis", kpi, f"{kpi}/checks"]
        wanted += [f"{kpi}/rows?load_date={DAY}&format={style}" for style in ("json", "csv")]
        found: dict[str, int] = {}
        with serving(settings().model_copy(update={"postgres_url": url}), load_pipelines(self.sql)) as client:
            while wanted and len(found) < 60:
                path = wanted.pop(0)
                answer = client.get(path)
                assert answer.status in (200, 302, 303, 307, 404, 406, 422), (path, answer.data)
                found[path] = lines_of(answer.data)
                links = re.findall(r'(?:href|src)="(/[^"#]*)"', answer.data.decode(errors="replace"))
                new = dict.fromkeys(map(html.unescape, links))
                wanted += [
                    each
                    for each in new
                    if each not in {*found, *wanted} and "/events" not in each and "/static/" not in each
                ]
        assert any(path.startswith(f"/kpi/{NAME}/") for path in found), [*found]
        return found

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

    def files_with_canary(self) -> list[str]:
        """Return the files of the home that hold the canary, besides the WAL, the store of S3 and the backup."""
        home = self.kpi.home
        [(backup,)] = self.rows(f"select oid::text from pg_database where datname = '{NAME}_backup'")
        passed_by = {"pg_wal", "s3-data", backup}
        return [
            str(path.relative_to(home))
            for path in home.rglob("*")
            if path.is_file() and not passed_by & {*path.parts}
            if any(spelling in path.read_bytes() for spelling in (CANARY.encode(), CANARY.upper().encode()))
        ]


@pytest.fixture(scope="module")
def shop(kpi: CliHarness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(kpi, tmp_path_factory.mktemp("erased"))
    made.land(DAY, FIRST)
    made.land(NEXT, SECOND)
    made.run(DAY, NEXT)
    made.decide()
    made.rows_of_admin(f"create database {NAME}_backup template {NAME}", "postgres")
    yield made


DECISIONS = f"decisions/raw.purchases/load_date={DAY}/0001.jsonl"
# How often the person is there before the erasure, as far as these tests build it.
HELD = {
    "raw.purchases": 4,
    "marts.people": 2,
    "marts.people_through_time": 2,
    "ops.quarantine": 4,  # two records of each of two builds
    key_of(DAY): 4,
    key_of(NEXT): 1,
    DECISIONS: 1,
    "kpi show raw.purchases csv": 3,
    "kpi show marts.people csv": 1,
    "kpi quarantine export": 1,
}
RUNS = "select load_date, rows_extracted, rows_loaded_raw, rows_quarantined, rows_erased from ops.pipeline_runs "
PEOPLE_NOW = "select load_date, email, spent::text from marts.people order by 1, 2"


def test_what_would_be_erased_is_counted_and_the_number_is_asked_for(shop: Shop) -> None:
    dry = shop.erase("--dry-run")
    assert "raw.purchases: 5 records in 2 objects" in dry.out
    said = shop.erase("--yes", 4, code=2)
    assert "5 records are about 2 identifiers, and --yes 4 is another number: nothing was erased" in said.err
    assert shop.rows("select count(*) from ops.erasures") == [(0,)]


@pytest.mark.nightly
def test_the_story_of_an_erasure(shop: Shop) -> None:
    assert len(shop.rows(PEOPLE_NOW)) == 4
    assert shop.files_with_canary() != []
    before, decisions = shop.places(), shop.body(DECISIONS).splitlines(keepends=True)
    assert {place: before.get(place) for place in HELD} == HELD

    done = shop.erase("--yes", 5, "--backup-days", 7)

    assert "erasure 1: 5 records are gone from 2 objects" in done.out
    assert f"through erasure 1: s3://{BUCKET}/erasures/0001.receipt.json" in done.out
    assert "erasure 1: 1 decisions on records or rows are gone" in done.out
    assert shop.body(key_of(DAY)) == body_of([FIRST[2], FIRST[4]])
    assert shop.body(key_of(NEXT)) == body_of(SECOND[1:])
    assert shop.body(DECISIONS) == b"\n" + decisions[1]
    assert shop.rows(PEOPLE_NOW) == [(DAY, OTHER, "9.00"), (NEXT, OTHER, "8.00")]
    assert shop.rows("select email from marts.people_through_time") == [(OTHER,), (OTHER,)]
    causes = "select distinct cause from ops.publishes where erasure is null and cause is not null"
    assert shop.rows(causes) == [("erasure",)]
    receipt = json.loads(shop.body("erasures/0001.receipt.json"))
    assert [(each["records_before"], each["erased"], each["records_after"]) for each in receipt["objects"]] == [
        (6, 4, 2),
        (2, 1, 1),
    ]
    assert receipt["emptied"]["decisions"] == 1
    # The records before are those that are loaded, in quarantine, and erased.
    assert shop.rows(f"{RUNS} where job = 'raw.purchases' order by id") == [
        (DAY, 6, 3, 3, None),
        (NEXT, 2, 2, 0, None),
        (DAY, 6, 5, 1, None),
        (DAY, 2, 2, 0, 0),
        (NEXT, 1, 1, 0, 0),
    ]
    assert receipt["files_not_written_anew"] == []
    assert len(receipt["dagster_runs_deleted"]) == 3

    shop("erase", NAME, "--verify", 1, "--ids", shop.ids)
    assert shop.files_with_canary() == []
    assert shop.places() == {}
    listed = " ".join(shop("erase", NAME, "--list").out.split())
    assert "customer" in listed
    assert "not yet" not in listed
    assert "every erasure is through" in shop("erase", NAME, "--apply").out


@pytest.mark.nightly
def test_nobody_comes_back_by_replay_backfill_or_another_delivery(shop: Shop) -> None:
    shop.land(NEXT, [*SECOND, "3,third@example.org,1.00"])
    shop.run(NEXT)
    shop("backfill", NAME, "--from", DAY, "--to", NEXT)
    assert [email for _, email, _ in shop.rows(PEOPLE_NOW)] == [OTHER, OTHER, "third@example.org"]
    message = (
        "select message from ops.data_quality_results where check_name = 'rows_accounted' order by id desc limit 1"
    )
    assert shop.rows(message) == [("3 records in the object = 2 loaded + 0 in quarantine + 1 erased",)]
    alerts = "select details[1] from ops.alerts where kind = 'erased'"
    assert len(shop.rows(alerts)) == 1
    found = shop("erase", NAME, "--verify", 1, "--ids", shop.ids, code=1)
    assert "has 1 records of erased persons" in found.out
    assert "erasure 2: 1 records are gone from 1 objects" in shop.erase("--yes", 1).out
    shop("erase", NAME, "--verify", 1, "--ids", shop.ids)


@pytest.mark.nightly
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


@pytest.mark.nightly
def test_a_database_that_is_restored_has_them_until_the_erasures_are_applied(shop: Shop) -> None:
    postgres = "postgres"
    shop.rows_of_admin(f"drop database {NAME} with (force)", postgres)
    shop.rows_of_admin(f"alter database {NAME}_backup rename to {NAME}", postgres)
    assert len(shop.rows(f"select from marts.people where email = '{CANARY}'")) == 2
    plan = shop("plan", NAME, code=0)
    assert f"erasure erasures 1, 2 are not applied to this database: `kpi erase {NAME} --apply` goes on." in plan.out
    shop("erase", NAME, "--apply")
    shop("erase", NAME, "--verify", 1, "--ids", shop.ids)
    assert shop.rows(f"select from marts.people where email = '{CANARY}'") == []
    assert "not applied" not in shop("plan", NAME).out


@pytest.mark.nightly
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
