"""A canary in each kind of row is shown by no command, and kept by nothing but the tables and the quarantine."""

import json
from datetime import date
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from kpi_assets.errors import UsageError
from kpi_assets.model.tree import load_pipelines
from kpi_assets.read.breakdown import Filter, dimensions_of, read_breakdown
from kpi_assets.warehouse.connection import connect, one_snapshot
from kpi_assets_tests.cli.command import CliHarness, Output

NAME, BUCKET = "persons", "kpi-persons"
GOOD, CHANGED, CAST, TWICE, HEADLESS = (date(2025, 4, day) for day in range(1, 6))
# Any part of these in a text would be a value of a person.
CANARIES = ("canary", "7770001113")
EMAIL = "canary@example.org"
HEADER = "person_id,email,name,city,age\n"
ROW = f"777000111333,{EMAIL},Canaryman,Rome,30\n"
ANOTHER = f"2,{EMAIL},Canarywoman,Oslo,31\n"
OBJECTS = {
    # A value that is no number, a record that a comma shifts, and a row that breaks a rule.
    GOOD: f"{HEADER}{ROW}{ANOTHER}3,{EMAIL},Canaryman,Rome,Canaryman\n4,x@y.z,Smith, Canaryman,Rome,33\n"
    f"777000111335,{EMAIL},Canaryman,Rome,200\n",
    CHANGED: f"{HEADER}{ROW.replace('Canaryman', 'Canaryman II')}",
    CAST: f"{HEADER}{ROW.replace('Canaryman', 'Cast Canaryman')}",
    TWICE: f"{HEADER}{ROW}{ROW}",
    HEADLESS: f"{ROW}{ANOTHER}",
}
PIPELINE = f"""\
description: Persons.
bucket: {BUCKET}
start_date: 2025-04-01
layers: {{raw: raw, stg: staging, marts: marts}}
readers: [marts]
"""
TABLES = {
    "raw/people": """\
/* @asset
description: People as delivered.
owner: team:tests
grain: [person_id]
source: {object: "raw/people/load_date={load_date}/people.csv", format: csv}
quarantine: {rows: 5}
columns:
  person_id: {type: bigint, description: Person., pii: id}
  email: {type: text, description: E-mail address., pii: email}
  name: {type: text, description: "Name, any.", pii: name}
  city: {type: text, description: City.}
  age: {type: integer, description: Age.}
@end */
""",
    "stg/people": """\
/* @asset
description: People of a likely age.
owner: team:tests
grain: [person_id]
quarantine: {rows: 3, rules: {range: {age: [0, 150]}}}
columns:
  person_id: {type: bigint, description: Person.}
  email: {type: text, description: E-mail address.}
  name: {type: text, description: "Name, any."}
  city: {type: text, description: City.}
  age: {type: integer, description: Age.}
checks:
  unique: {columns: [email], severity: warn}
  in_rome:
    description: Nobody lives in Oslo.
    severity: warn
    bad_rows: >-
      select city, upper(email) as how, name as called, count(*) as n from {this} where city = 'Oslo' group by 1, 2, 3
@end */
select person_id, email, name, city, age
from raw.people
where load_date = %(load_date)s
""",
    "stg/numbers": """\
/* @asset
description: A number of each person.
owner: team:tests
grain: [city]
columns:
  city: {type: text, description: City.}
  n: {type: bigint, description: A number.}
@end */
select city, sum(case when name like 'Cast%%' then email::bigint else 1 end)::bigint as n
from stg.people
where load_date = %(load_date)s
group by city
""",
    "marts/known": """\
/* @asset
description: People as they were known.
owner: team:tests
grain: [person_id]
storage: history
history: {surrogate_key: person_sk, max_changed: 0.0}
columns:
  person_id: {type: bigint, description: Person.}
  name: {type: text, description: "Name, any."}
  city: {type: text, description: City.}
@end */
select person_id, name, city
from stg.people
where load_date = %(load_date)s
""",
    "marts/kpi_people": """\
/* @asset
description: People by e-mail address.
owner: team:tests
grain: [email, city]
kpi:
  chart: {x: city, y: people}
  measures: {people: {title: People, value: sum(people), better: up}}
columns:
  email: {type: text, description: E-mail address.}
  city: {type: text, description: City.}
  people: {type: bigint, description: How many.}
@end */
select email, city, count(*) as people
from stg.people
where load_date = %(load_date)s
group by email, city
""",
}


class Persons:
    """The command on that pipeline; it keeps all that is printed."""

    def __init__(self, kpi: CliHarness, sql: Path) -> None:
        self.kpi, self.sql = kpi, str(sql)
        self.said: list[str] = []

    def __call__(self, *words: object, code: int = 0) -> Output:
        said = self.kpi(*words, code=code, KPI_SQL_DIR=self.sql)
        self.said += [said.out, said.err]
        return said

    def run(self, day: date, code: int) -> Output:
        self.kpi.s3.put_object(Bucket=BUCKET, Key=f"raw/people/load_date={day}/people.csv", Body=OBJECTS[day].encode())
        return self("run", NAME, "--load-date", day, code=code)


@pytest.fixture(scope="module")
def persons(kpi: CliHarness, tmp_path_factory: pytest.TempPathFactory) -> Persons:
    """The pipeline after a run of each of its load_dates."""
    sql = tmp_path_factory.mktemp("persons") / "sql"
    for name, text in {"pipeline.yaml": PIPELINE, **{f"{table}.sql": text for table, text in TABLES.items()}}.items():
        path = sql / NAME / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    kpi.stack.make_bucket(BUCKET)
    made = Persons(kpi, sql)
    made.run(GOOD, 0)
    made.run(CHANGED, 3)
    made.run(CAST, 1)
    made.run(TWICE, 3)
    made.run(HEADLESS, 3)
    return made


def canaries(text: str) -> list[str]:
    """Return the lines of a text with a canary."""
    return [line for line in text.splitlines() if any(each in line.lower() for each in CANARIES)]


def in_database(kpi: CliHarness, database: str) -> dict[str, int]:
    """Return the tables of a database with a canary, each with its number of rows that have one."""
    found = {}
    with psycopg.connect(kpi.url(database), autocommit=True) as connection:
        tables = connection.execute(
            "select quote_ident(schemaname) || '.' || quote_ident(tablename) from pg_tables "
            "where schemaname not in ('pg_catalog', 'information_schema')"
        ).fetchall()
        for (table,) in tables:
            condition = " or ".join(f"t::text ilike '%{each}%'" for each in CANARIES)
            [(count,)] = connection.execute(f"select count(*) from {table} as t where {condition}".encode()).fetchall()
            if count:
                found[table] = count
    return found


def test_nothing_that_is_printed_has_a_personal_value(persons: Persons) -> None:
    for style in ("table", "csv", "json"):
        for table in ("raw.people", "stg.people", "marts.known", "marts.kpi_people"):
            said = persons("show", NAME, table, "--load-date", GOOD, "--format", style)
            assert "(masked)" in said.out
        persons("diff", NAME, "stg.people", GOOD, CAST, "--format", style)
        persons("quarantine", "list", NAME, "--format", style)
    for day in OBJECTS:
        persons("checks", NAME, "--load-date", day)
    for style in ("tree", "json"):
        persons("trace", NAME, "marts.known", "2", "--load-date", GOOD, "--format", style)
    persons("status")
    persons("alerts", NAME)
    persons("plan", NAME, "--from", GOOD, "--to", HEADLESS, code=1)
    assert canaries("\n".join(persons.said)) == []


def test_the_ledger_and_the_history_of_runs_have_none(kpi: CliHarness, persons: Persons) -> None:
    in_ops = {name: count for name, count in in_database(kpi, NAME).items() if name.startswith("ops.")}
    assert in_ops.keys() == {"ops.quarantine"}
    databases = [
        name for (name,) in kpi.rows("select datname from pg_database where datallowconn", database="postgres")
    ]
    assert {name: found for name in databases if name != NAME and (found := in_database(kpi, name))} == {}
    assert {"dagster"} & {*databases}, databases


def test_the_logs_and_the_home_have_none(kpi: CliHarness, persons: Persons) -> None:
    servers = ("postgres", "s3-data")  # the folders of the data itself
    own = [
        path for path in kpi.home.rglob("*") if path.is_file() and path.relative_to(kpi.home).parts[0] not in servers
    ]
    assert any(path.name == "postgres.log" for path in own)
    with_canary = [path for path in own if canaries(path.read_bytes().decode(errors="replace"))]
    assert with_canary == []


def test_who_may_see_them_asks_for_them(kpi: CliHarness, persons: Persons, tmp_path: Path) -> None:
    def ask(*words: object) -> str:
        return kpi(*words, "--pii", KPI_SQL_DIR=persons.sql).out

    assert f"777000111333,{EMAIL},Canaryman,Rome,30" in ask(
        "show", NAME, "stg.people", "--load-date", GOOD, "--format", "csv"
    )
    changed = ask("diff", NAME, "stg.people", GOOD, CAST, "--format", "csv")
    assert "777000111333,changed,name,Canaryman,Cast Canaryman" in changed
    rows = json.loads(ask("quarantine", "list", NAME, "--load-date", GOOD, "--format", "json"))
    [row] = [each for each in rows if each["table"] == "stg.people"]
    assert row["place"] == '{"person_id": 777000111335}'
    shown = kpi("quarantine", "show", NAME, row["id"], KPI_SQL_DIR=persons.sql).out
    assert '"city": "Rome"' in shown and not canaries(shown)
    assert EMAIL in ask("quarantine", "show", NAME, row["id"])
    masked, whole = tmp_path / "masked.jsonl", tmp_path / "whole.jsonl"
    kpi("quarantine", "export", NAME, "--out", masked, "--load-date", GOOD, KPI_SQL_DIR=persons.sql)
    ask("quarantine", "export", NAME, "--out", whole, "--load-date", GOOD)
    assert len(masked.read_text().splitlines()) == len(whole.read_text().splitlines()) == 3
    assert canaries(masked.read_text()) == []
    assert len(canaries(whole.read_text())) == 3
    [traced] = json.loads(ask("trace", NAME, "raw.people", "2", "--load-date", GOOD, "--format", "json"))["rows"]
    assert traced["origin"]["record"] == ANOTHER.strip()


def test_readers_of_a_kpi_get_it_without_its_personal_columns(kpi: CliHarness, persons: Persons) -> None:
    pipeline = load_pipelines(Path(persons.sql))[NAME]
    table = pipeline.table("marts.kpi_people")
    assert dimensions_of(table) == ["city"]
    server = SecretStr(kpi.servers["KPI_POSTGRES_URL"])
    with connect(server, NAME, "test", read_only=True) as connection, one_snapshot(connection):
        found = read_breakdown(connection, pipeline, table, GOOD)
        with pytest.raises(UsageError, match=r"cannot be filtered by 'email': its dimensions are city\."):
            read_breakdown(connection, pipeline, table, GOOD, filters=[Filter("email", [EMAIL])])
    assert found.columns == ["city", "people"]
    assert sorted(map(tuple, found.rows)) == [("Oslo", "1"), ("Rome", "1")]


def test_the_samples_say_which_columns_differ(kpi: CliHarness, persons: Persons) -> None:
    found = dict(
        kpi.rows(
            "select distinct on (check_name) check_name, samples from ops.data_quality_results "
            "where load_date = any(%s) and jsonb_array_length(to_jsonb(samples)) > 0 order by check_name, id",
            [GOOD, CHANGED],
            database=NAME,
        )
    )
    assert found["in_rome"] == [{"n": 1, "how": "(masked)", "city": "Oslo", "called": "(masked)"}]
    assert sorted(found["max_changed"], key=str) == [
        {"person_id": "(masked)", "differs": "absent"},
        {"person_id": "(masked)", "differs": {"name": "(masked)"}},
    ]
