"""A pipeline with persons, and where one of them, the canary, is found: in objects, tables, pages and files.

Belongs here: what tests of erasures share. Not here: what they prove.
"""

import gzip
import html
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import urllib3
from pydantic import SecretStr

from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import settings
from kpi_assets_tests.cli.command import CliHarness, Output
from kpi_assets_tests.machine import free_port
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML
from kpi_assets_tests.surface.server import serving

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
BAD = [f"4,{CANARY},much", f"6,{OTHER},lots"]  # on lines 5 and 6
FIRST = [f"1,{CANARY},60.00", f"2, {CANARY.upper()},1.00", f"3,{OTHER},4.00", *BAD, f'5,"{CANARY},9']
SECOND = [f"1,{CANARY},2.00", f"2,{OTHER},8.00"]
# What a correction took the place of, before the erasure.
WRONG, RIGHT = [f"1,{CANARY},6.00", f"2,{CANARY},much", f"3,{OTHER},5.00"], [f"3,{OTHER},5.00"]
DOUBLED = [f"1,{CANARY},5.00", f"2,{OTHER},1.00", f"2,{OTHER},2.00", f"3,{CANARY},much"]
DECISIONS = f"decisions/raw.purchases/load_date={DAY}/0001.jsonl"
REASON = "asked to be erased by letter"
WORDS = ("--request", "REQ-1", "--reason", REASON, "--by", "ana")
PEOPLE_NOW = "select load_date, email, spent::text from marts.people order by 1, 2"
ROWS = f"/api/v1/kpis/{NAME}/marts.spenders/rows?load_date={DAY}&format="
SHOWN = (
    *("/", f"/pipelines/{NAME}", f"/kpi/{NAME}/marts.spenders", f"/kpi/{NAME}/marts.spenders?load_date={DAY}"),
    *(f"/api/v1/kpis/{NAME}/marts.spenders{what}" for what in ("", "/series", "/restatements", "/checks", "/lineage")),
    *(f"{ROWS}{name}" for name in ("json", "csv")),
)


def key_of(day: date) -> str:
    return f"raw/purchases/load_date={day}/purchases.csv"


def body_of(rows: list[str]) -> bytes:
    return (HEADER + "".join(f"{row}\n" for row in rows)).encode()


def lines_of(body: bytes) -> int:
    """Return how many lines hold the canary."""
    return sum(CANARY in line.decode(errors="replace").lower() for line in body.splitlines())


class Shop:
    """The pipeline of this file in a home, and what is asked of it."""

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

    def put(self, key: str, body: bytes) -> None:
        self.kpi.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def body(self, key: str) -> bytes:
        return bytes(self.kpi.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def land(self, day: date, rows: list[str]) -> None:
        self.put(key_of(day), body_of(rows))

    def land_visits(self, day: date, *emails: str) -> None:
        lines = [json.dumps({"v": number, "email": email}) for number, email in enumerate(emails)]
        self.put(f"raw/visits/load_date={day}/visits.json.gz", gzip.compress("\n".join([*lines, ""]).encode()))

    def run(self, *days: date, code: int = 0) -> None:
        for day in days:
            self("run", NAME, "--load-date", day, code=code)

    def stock(self) -> None:
        """Publish two load_dates, of one of which earlier rows are kept, and hold a third."""
        for day, emails in ((DAY, (CANARY, OTHER)), (NEXT, (OTHER,)), (HELD, (OTHER,))):
            self.land_visits(day, *emails)
        for day, rows in ((DAY, [*FIRST, f"7,{CANARY},3.00"]), (DAY, FIRST), (NEXT, SECOND)):
            self.land(day, rows)
            self.run(day)
        self.land(HELD, DOUBLED)
        self.run(HELD, code=3)

    def correct(self) -> None:
        """Publish a load_date with the canary, and once more without, as its source has corrected it."""
        self.land_visits(CORRECTED, OTHER)
        for rows in (WRONG, RIGHT):
            self.land(CORRECTED, rows)
            self.run(CORRECTED)

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

    def rows(self, query: str, database: str = NAME) -> list[tuple[Any, ...]]:
        """Return the rows of a query; a statement without rows needs `returning`."""
        return self.kpi.rows(query, database=database)

    def objects_with_canary(self) -> list[str]:
        """Return the objects of the bucket that hold the canary, unpacked."""
        found = []
        for entry in self.kpi.s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
            body = self.body(entry["Key"])
            if CANARY.encode() in (gzip.decompress(body) if entry["Key"].endswith(".gz") else body).lower():
                found.append(entry["Key"])
        return found

    def printed(self) -> dict[str, int]:
        """Return how many lines of what commands print with personal values hold the canary; no others are named."""
        found, out = dict[str, int](), self.folder / "exported.jsonl"
        for table in ("raw.purchases", "marts.people"):
            for style in ("csv", "json"):
                words = ("show", NAME, table, "--load-date", DAY, "--pii", "--format", style)
                found[f"kpi show {table} {style}"] = lines_of(self.kpi(*words, KPI_SQL_DIR=str(self.sql)).out.encode())
        words = ("quarantine", "export", NAME, "--out", out, "--pii")
        self.kpi(*words, KPI_SQL_DIR=str(self.sql))
        found["kpi quarantine export"] = lines_of(out.read_bytes())
        out.unlink()
        return {what: count for what, count in found.items() if count}

    def pages(self) -> dict[str, int]:
        """Return how many lines of pages, and of answers of the API, hold the canary; no others are named."""
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
        return {path: count for path, count in found.items() if count}

    def tables_with_canary(self) -> list[str]:
        """Return the tables of the pipeline's database, of any schema, that hold the canary."""
        names = self.rows(
            "select n.nspname, c.relname from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace "
            "where c.relkind = 'r' and n.nspname <> 'information_schema' and n.nspname !~ '^pg_toast' order by 1, 2"
        )
        holds = f"position('{CANARY}' in lower(t::text)) > 0"
        return [
            f"{schema}.{name}"
            for schema, name in names
            if self.rows(f"select 1 from {schema}.{name} as t where {holds} limit 1")
        ]

    def events_with_canary(self) -> int:
        """Count the events of Dagster that hold the canary."""
        [(count,)] = self.rows(f"select count(*) from event_logs where position('{CANARY}' in event) > 0", "dagster")
        return int(count)
