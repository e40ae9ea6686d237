"""A canary in each kind of row is shown by no command, and kept by nothing but the tables and the quarantine."""

import html
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from kpi_assets.errors import UsageError
from kpi_assets.model.tree import load_pipelines
from kpi_assets.read.breakdown import Filter, dimensions_of, read_breakdown
from kpi_assets.settings import settings
from kpi_assets.warehouse.connection import LEDGER_ALONE, connect, one_snapshot
from kpi_assets_tests.alerts.receivers import Web
from kpi_assets_tests.cli.command import CliHarness, Output
from kpi_assets_tests.examples import ALL
from kpi_assets_tests.surface.server import Client, serving

NAME, BUCKET = "persons", "kpi-persons"
GOOD, CHANGED, CAST, TWICE, HEADLESS = (date(2025, 4, day) for day in range(1, 6))
# Any part of these in a text would be a value of a person. No other test has them: databases share a server.
CANARIES = ("quokka", "7770001113")
EMAIL = "quokka@example.org"
MOST_PAGES = 150
STYLES = ("table", "csv", "json") if ALL else ("json",)
HEADER = "person_id,email,name,city,age\n"
ROW = f"777000111333,{EMAIL},Quokkaman,Rome,30\n"
ANOTHER = f"2,{EMAIL},Quokkawoman,Oslo,31\n"
OBJECTS = {
    # A value that is no number, a record that a comma shifts, and a row that breaks a rule.
    GOOD: f"{HEADER}{ROW}{ANOTHER}3,{EMAIL},Quokkaman,Rome,Quokkaman\n4,x@y.z,Smith, Quokkaman,Rome,33\n"
    f"777000111335,{EMAIL},Quokkaman,Rome,200\n",
    CHANGED: f"{HEADER}{ROW.replace('Quokkaman', 'Quokkaman II')}",
    CAST: f"{HEADER}{ROW.replace('Quokkaman', 'Cast Quokkaman')}",
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

# The same in other formats, and what readers get of it: a question, and a live view of what was set aside.
SHAPES, OTHER_BUCKET = "shapes", "kpi-shapes"
VISITS = (
    f'[{{"visit_id": 1, "email": "{EMAIL}", "minutes": 3, "nickname": "Quokkaman"}},'
    f'{{"visit_id": 2, "email": "{EMAIL}", "minutes": "Quokkaman"}},'
    f'{{"visit_id": 3, "email": "{EMAIL}", "minutes": 500}}]'
).encode()
SHAPES_TABLES = {
    "raw/visits": """\
/* @asset
description: Visits as delivered.
owner: team:tests
grain: [visit_id]
source: {object: "raw/visits/load_date={load_date}/visits.json", format: json, extra: keep, whole: raw_data}
quarantine: {rows: 5}
columns:
  visit_id: {type: bigint, description: Visit.}
  email: {type: text, description: E-mail address., pii: email}
  minutes: {type: integer, description: How long it took.}
checks:
  range: {minutes: [0, 60]}
  severity: warn
@end */
""",
    "raw/phones": """\
/* @asset
description: Telephones as delivered.
owner: team:tests
grain: [person_id]
source: {object: "raw/phones/load_date={load_date}/phones.parquet", format: parquet}
columns:
  person_id: {type: bigint, description: Person., pii: id}
  phone: {type: text, description: Number of the telephone., pii: phone}
  calls: {type: integer, description: Number of calls.}
@end */
""",
    "marts/kpi_visits": """\
/* @asset
description: Visits and calls by address.
owner: team:tests
grain: [email]
kpi:
  chart: {x: minutes, y: minutes}
  measures: {minutes: {title: Minutes, value: sum(minutes), better: up, alert: {above: 1}}}
columns:
  email: {type: text, description: E-mail address.}
  minutes: {type: bigint, description: Minutes of all visits.}
  calls: {type: bigint, description: Calls of everybody.}
@end */
select v.email, sum(v.minutes) as minutes, (
    select sum(p.calls)::bigint from raw.phones as p where p.load_date = %(load_date)s
) as calls
from raw.visits as v
where v.load_date = %(load_date)s
group by v.email
""",
    "marts/bad_records": """\
/* @asset
description: What was set aside.
owner: team:tests
grain: [id]
storage: live
columns:
  id: {type: bigint, description: Number of the record.}
  table_name: {type: text, description: Its table.}
  column_name: {type: text, description: Column that cannot be read.}
@end */
select id, table_name, column_name from ops.bad_rows
""",
    "questions/minutes": """\
/* @question
title: How long do they stay?
description: Minutes of all visits.
owner: team:tests
columns:
  minutes: {title: Minutes, format: integer}
@end */
select sum(minutes) as minutes from marts.kpi_visits where load_date = %(load_date)s order by minutes
""",
}


def phones(calls: Sequence[object]) -> bytes:
    """Return a Parquet file of two telephones."""
    body = io.BytesIO()
    columns = {"person_id": [777000111333, 2], "phone": ["+49 777000111333", "+49 quokka"], "calls": calls}
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), body)
    return body.getvalue()


class Persons:
    """The command on these pipelines; it keeps all that is printed, and all alerts that are sent to `web`."""

    def __init__(self, kpi: CliHarness, sql: Path, web: Web) -> None:
        self.kpi, self.sql, self.web = kpi, str(sql), web
        self.said: list[str] = []

    def __call__(self, *words: object, code: int = 0) -> Output:
        said = self.kpi(*words, code=code, KPI_SQL_DIR=self.sql, KPI_ALERT_WEBHOOK_URL=self.web.url)
        self.said += [said.out, said.err]
        return said

    def run(self, day: date, code: int) -> Output:
        self.kpi.s3.put_object(Bucket=BUCKET, Key=f"raw/people/load_date={day}/people.csv", Body=OBJECTS[day].encode())
        return self("run", NAME, "--load-date", day, code=code)

    def run_shapes(self, day: date, calls: Sequence[object], code: int) -> None:
        for key, body in (("visits/{}/visits.json", VISITS), ("phones/{}/phones.parquet", phones(calls))):
            self.kpi.s3.put_object(Bucket=OTHER_BUCKET, Key=f"raw/{key.format(f'load_date={day}')}", Body=body)
        self("run", SHAPES, "--load-date", day, code=code)


@pytest.fixture(scope="module")
def persons(kpi: CliHarness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Persons]:
    """The pipelines after a run of each of their load_dates."""
    sql = tmp_path_factory.mktemp("persons") / "sql"
    for pipeline, tables in {NAME: TABLES, SHAPES: SHAPES_TABLES}.items():
        config = PIPELINE.replace(BUCKET, BUCKET if pipeline == NAME else OTHER_BUCKET)
        for name, text in {"pipeline.yaml": config, **{f"{table}.sql": text for table, text in tables.items()}}.items():
            path = sql / pipeline / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    kpi.stack.make_bucket(BUCKET)
    kpi.stack.make_bucket(OTHER_BUCKET)
    with Web.open() as web:
        yield _ran(Persons(kpi, sql, web))


@contextmanager
def served(persons: Persons) -> Iterator[Client]:
    """Run `kpi serve` on the pipelines."""
    url = SecretStr(persons.kpi.servers["KPI_POSTGRES_URL"])
    with serving(settings().model_copy(update={"postgres_url": url}), load_pipelines(Path(persons.sql))) as client:
        yield client


def _ran(made: Persons) -> Persons:
    made.run(GOOD, 0)
    made.run(CHANGED, 3)
    made.run(CAST, 1)
    made.run(TWICE, 3)
    made.run(HEADLESS, 3)
    made.run_shapes(GOOD, [1, 2], 0)
    made.run_shapes(CHANGED, ["Quokkaman", None], 3)
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
    for style in STYLES:
        for table in ("raw.people", "stg.people", "marts.known", "marts.kpi_people"):
            said = persons("show", NAME, table, "--load-date", GOOD, "--format", style)
            assert "(masked)" in said.out
        persons("diff", NAME, "stg.people", GOOD, CAST, "--format", style)
        persons("quarantine", "list", NAME, "--format", style)
    for day in OBJECTS:
        persons("checks", NAME, "--load-date", day)
    for style in ("tree", "json"):
        persons("trace", NAME, "marts.known", "2", "--load-date", GOOD, "--format", style)
    for style in STYLES:
        for name in ("raw.visits", "raw.phones", "marts.kpi_visits"):
            assert "(masked)" in persons("show", SHAPES, name, "--load-date", GOOD, "--format", style).out
        persons("show", SHAPES, "marts.bad_records", "--format", style)
        persons("ask", SHAPES, "minutes", "--load-date", GOOD, "--format", style)
    persons("quarantine", "list", SHAPES)
    persons("checks", SHAPES, "--load-date", CHANGED)
    persons("status")
    persons("alerts", NAME)
    persons("alerts", SHAPES)
    persons("plan", NAME, "--from", GOOD, "--to", HEADLESS, code=1)
    assert canaries("\n".join(persons.said)) == []


def test_the_ledger_and_the_history_of_runs_have_none(kpi: CliHarness, persons: Persons) -> None:
    for pipeline in (NAME, SHAPES):
        in_ops = {name: count for name, count in in_database(kpi, pipeline).items() if name.startswith("ops.")}
        assert in_ops.keys() == {"ops.quarantine"}
    databases = [
        name for (name,) in kpi.rows("select datname from pg_database where datallowconn", database="postgres")
    ]
    own = (NAME, SHAPES)
    assert {name: found for name in databases if name not in own and (found := in_database(kpi, name))} == {}
    assert {"dagster"} & {*databases}, databases


def test_alerts_say_none(persons: Persons) -> None:
    sent = json.dumps(persons.web.bodies)
    assert {body["pipeline"] for body in persons.web.bodies} == {NAME, SHAPES}
    assert {"held", "failed", "breached"} <= {body["kind"] for body in persons.web.bodies}
    assert canaries(sent) == []


def test_pages_and_the_api_have_none(persons: Persons) -> None:
    kpis = [f"/api/v1/kpis/{kpi}" for kpi in ("persons/kpi_people", "shapes/kpi_visits")]
    found: dict[str, bytes] = {}
    with served(persons) as client:
        wanted = ["/", "/questions", "/api/v1/kpis", "/api/v1/questions", "/metrics", *kpis]
        for kpi in kpis:
            wanted += [f"{kpi}/rows?load_date={GOOD}", f"{kpi}/rows?load_date={GOOD}&format=csv", f"{kpi}/checks"]
        while wanted and len(found) < MOST_PAGES:
            path = wanted.pop()
            answer = client.get(path)
            found[path] = answer.data
            assert answer.status in (200, 302, 303, 307, 404, 406, 422), (path, answer.data)
            links = re.findall(r'(?:href|src)="(/[^"#]*)"', answer.data.decode(errors="replace"))
            new = {html.unescape(link) for link in links} - {*found, *wanted}
            wanted += sorted(
                link for link in new if "/events" not in link and "/static/" not in link
            )  # no end; no data
    pages = [path for path in found if path.startswith("/kpi/")]
    assert any("kpi_people" in path for path in pages) and any("kpi_visits" in path for path in pages), [*found]
    assert b"Rome" in found[f"{kpis[0]}/rows?load_date={GOOD}"]
    assert {path: each for path, body in found.items() if (each := canaries(body.decode(errors="replace")))} == {}


def test_files_of_rows_have_none(persons: Persons) -> None:
    with served(persons) as client:
        for kpi, columns in (("persons/kpi_people", ["city", "people"]), ("shapes/kpi_visits", ["minutes", "calls"])):
            answer = client.get(f"/api/v1/kpis/{kpi}/rows?load_date={GOOD}&format=parquet")
            assert answer.status == 200, answer.data
            table = pq.read_table(io.BytesIO(answer.data))
            assert table.column_names == ["load_date", *columns]
            assert canaries(str(table.to_pylist())) == []


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

    assert f"777000111333,{EMAIL},Quokkaman,Rome,30" in ask(
        "show", NAME, "stg.people", "--load-date", GOOD, "--format", "csv"
    )
    changed = ask("diff", NAME, "stg.people", GOOD, CAST, "--format", "csv")
    assert "777000111333,changed,name,Quokkaman,Cast Quokkaman" in changed
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
    with connect(server, NAME, "test", read_only=True) as connection, one_snapshot(connection, LEDGER_ALONE):
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
