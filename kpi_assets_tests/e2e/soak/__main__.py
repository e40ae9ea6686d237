"""`python -m kpi_assets_tests.e2e.soak`: the acts. `make soak` runs the third, `make nightly` all of them.

Each of the three acts has its own home. The first failed check ends the program with exit code 1.
1. A day lands and the sensor publishes it; a bad day is held, with one alert; once corrected it is published, with
   one message of recovery.
2. A backfill of 31 load_dates, launched as in the UI, 3 of which never landed and 1 of which is bad; then a backfill of
   what looked back before all runs had ended. A second time it gives the same checksums.
3. For some minutes load_dates of three pipelines land, some of them twice, while runs, services and servers are killed
   at random and readers look. In the end each load_date is published once, every row is accounted for, no reader has
   seen a mixture, nothing is left behind, and empty databases get the same rows from S3.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg

from kpi_assets_tests.alerts.receivers import Web as Receiver
from kpi_assets_tests.e2e.soak.kills import kills
from kpi_assets_tests.e2e.soak.saying import say, until
from kpi_assets_tests.e2e.web import Web

ORDERS = 2000
INTERVAL = 5  # seconds between two ticks of the sensor
SENSOR = f"automation: {{start: sensor, interval_seconds: {INTERVAL}, settle_seconds: 0}}\n"
BACKFILL = """
mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
PUBLISHED = "select asset, checksum from ops.published where load_date = %s order by asset"
FIRST = date(2025, 3, 1)


def main() -> None:
    """Run the acts that the command line names."""
    asked = argparse.ArgumentParser(prog="python -m kpi_assets_tests.e2e.soak", description=__doc__)
    asked.add_argument("--acts", default="1,2,3")
    asked.add_argument("--minutes", type=float, default=10, help="of the third act")
    asked.add_argument("--seed", type=int, default=1, help="of what is killed, and when")
    options = asked.parse_args()
    acts: dict[str, Callable[[Path], None]] = {
        "1": automation,
        "2": month,
        "3": lambda folder: kills(folder, options.minutes * 60, options.seed),
    }
    for act in options.acts.split(","):
        with tempfile.TemporaryDirectory(prefix="kpi-soak-") as folder:
            acts[act](Path(folder))
    say("all as it should be")


class Ledger:
    """The ledger of a running `kpi up`."""

    def __init__(self, web: Web) -> None:
        self._url = web.kpi("url", "instacart").stdout.strip()
        self.tables = len(list(Path(web.environment["KPI_SQL_DIR"], "instacart").rglob("*.sql")))

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query; none while the server is down."""
        with suppress(psycopg.OperationalError), psycopg.connect(self._url) as connection:
            return connection.execute(query.encode(), parameters).fetchall()
        return []

    def published(self, day: date | str) -> list[tuple[Any, ...]]:
        """Return (table, checksum) of each published table of a load_date."""
        return self.rows(PUBLISHED, day)

    def is_whole(self, day: date | str) -> bool:
        """Return whether every table of a load_date is published."""
        return len(self.published(day)) == self.tables


def automation(folder: Path) -> None:
    """Run the first act: the sensor."""
    good, bad = str(FIRST), str(FIRST + timedelta(days=1))
    with Receiver.open() as hook, Web.open(folder, SENSOR, KPI_ALERT_WEBHOOK_URL=hook.url) as web:
        ledger = Ledger(web)

        def sent(kind: str) -> list[str]:
            return [body["load_date"] for body in hook.bodies if body["kind"] == kind]

        web.land(good, folder / "good", orders=ORDERS)
        until("a day that landed is published", lambda: ledger.is_whole(good))
        web.land(bad, folder / "bad", ["duplicate_line", "reordered_7"], orders=ORDERS)
        until("a bad day is held", lambda: ledger.rows("select 1 from ops.pipeline_runs where status = 'held'"))
        until("an alert says so", lambda: sent("held"))
        time.sleep(90)  # further ticks of both sensors
        assert sent("held") == [bad], hook.bodies
        runs = ledger.rows("select distinct run_id from ops.pipeline_runs where load_date = %s", bad)
        assert len(runs) == 1, "automation does not run a held load_date again"
        assert not [1 for table, _ in ledger.published(bad) if table.startswith("marts.fact")]
        web.kpi("sample", "instacart", "--load-date", bad, "--orders", str(ORDERS), "--out", str(folder / "new"))
        said = web.kpi("land", "instacart", "--load-date", bad, "--from", str(folder / "new"), "--replace")
        assert said.returncode == 0, said.stderr
        until("corrected, it is published", lambda: ledger.is_whole(bad))
        until("a message says so", lambda: sent("recovered"))
        time.sleep(65)
        assert (sent("held"), sent("recovered")) == ([bad], [bad]), hook.bodies
        # The KPIs are late, because the load_dates are old.
        late = [body["title"] for body in hook.bodies if body["kind"] == "late"]
        assert len(hook.bodies) == 2 + len(late) == 2 + len(set(late)), hook.bodies


def month(folder: Path) -> None:
    """Run the second act: the backfill of a month."""
    days = [str(FIRST + timedelta(days=number)) for number in range(31)]
    absent, bad = {days[4], days[11], days[30]}, days[17]
    with Web.open(folder) as web:
        ledger = Ledger(web)
        for number, day in enumerate(days):
            if day not in absent:
                web.land(day, folder / day, ["duplicate_line"] if day == bad else [], orders=300 + number)
        found = []
        for turn in ("first", "second"):
            began = time.monotonic()
            ended = web.backfilled(launched(web, days), len(days), patience=900)
            say(f"the {turn} backfill of 31 load_dates: {time.monotonic() - began:.0f} s")
            held = {day for day, status in ended.items() if status == "CANCELED"}
            assert held == absent | {bad}, held
            said = web.kpi("backfill", "instacart", "--from", days[0], "--to", days[-1], "--only", "stale")
            assert said.returncode == 0, said.stderr
            found.append({day: ledger.published(day) for day in days})
        whole = [day for day in days if ledger.is_whole(day)]
        assert whole == [day for day in days if day not in absent | {bad}], whole
        assert found[0] == found[1], "the same objects and SQL give the same checksums"
        plan = planned(web, days)
        assert plan == "27 published, 3 missing, 1 held.", plan
        say(plan)


def launched(web: Web, days: list[str]) -> str:
    """Launch a backfill of the whole pipeline as the UI does; return its id."""
    selector = {"repositorySelector": {"repositoryLocationName": "kpi_assets", "repositoryName": "__repository__"}}
    selector |= {"partitionSetName": "instacart_partition_set"}  # type: ignore[dict-item]
    params = {"selector": selector, "partitionNames": days}
    answer = web.ask(BACKFILL, {"params": params})["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    return str(answer["backfillId"])


def planned(web: Web, days: list[str]) -> str:
    """Return the line of `kpi plan` that counts the load_dates by state."""
    return web.kpi("plan", "instacart", "--from", days[0], "--to", days[-1]).stdout.splitlines()[-1]


if __name__ == "__main__":
    main()
