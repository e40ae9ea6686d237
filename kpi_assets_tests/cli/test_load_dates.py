"""Commands that look at load_dates of a history and of other tables: `kpi show --as-of`, `kpi diff`, `kpi drop`."""

import json
from datetime import date
from pathlib import Path

import pytest

from kpi_assets_tests.cli.command import CliHarness, Output
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML
from kpi_assets_tests.warehouse.history_harness import CUSTOMERS, RAW_CUSTOMERS, surrogate_key

NAME, BUCKET = "crm", "kpi-crm"
FIRST, SECOND, THIRD = (date(2025, 3, n) for n in (1, 2, 5))
HEAD = "customer_id,name,city,score\n"
OBJECTS = {
    FIRST: "C1,John,NYC,1.0\nC2,Ann,LA,2\n",
    SECOND: "C1,John,LA,1.00\nC2,Ann,LA,2\n",
    THIRD: "C1,John,LA,1.00\nC3,Ann,=1+1,NULL\n",
}
DIM, RAW = "marts.customers", "raw.customers"


class Crm:
    """The command on a pipeline with a raw table and its history, of which three load_dates are published."""

    def __init__(self, kpi: CliHarness, folder: Path) -> None:
        self.kpi, self.sql = kpi, folder / "sql"
        for name, text in ((RAW, RAW_CUSTOMERS), (DIM, CUSTOMERS)):
            path = self.sql / NAME / f"{name.replace('.', '/')}.sql"
            path.parent.mkdir(parents=True)
            path.write_text(text)
        (self.sql / NAME / "pipeline.yaml").write_text(PIPELINE_YAML.format(bucket=BUCKET))
        kpi.stack.make_bucket(BUCKET)
        for day, body in OBJECTS.items():
            key = f"raw/customers/load_date={day}/customers.csv"
            kpi.s3.put_object(Bucket=BUCKET, Key=key, Body=(HEAD + body).encode())
        self("backfill", "--from", FIRST, "--to", THIRD, "--only", "new")

    def __call__(self, command: str, *words: object, code: int = 0) -> Output:
        return self.kpi(command, NAME, *words, code=code, KPI_SQL_DIR=str(self.sql))

    def fails(self, sentence: str, command: str, *words: object, code: int = 1) -> None:
        self.kpi.fails(sentence, command, NAME, *words, code=code, KPI_SQL_DIR=str(self.sql))


@pytest.fixture(scope="module")
def crm(kpi: CliHarness, tmp_path_factory: pytest.TempPathFactory) -> Crm:
    return Crm(kpi, tmp_path_factory.mktemp("crm"))


def test_a_history_is_shown_as_it_was_known(crm: Crm) -> None:
    said = crm("show", DIM, "--as-of", "2025-03-04")
    assert said.line("as of") == f"{DIM} as of 2025-03-04 (load_date {SECOND})"
    number = surrogate_key('"C1"', SECOND)
    assert said.line("C1") == f"{number} C1 John LA 1.00 {SECOND} true true {SECOND}"
    assert crm("show", DIM).line("load_date") == f"{DIM}, load_date {THIRD}"
    found = json.loads(crm("show", DIM, "--load-date", FIRST, "--format", "json").out)
    assert [(row["customer_id"], row["city"], row["end_date"], row["is_current"]) for row in found] == [
        ("C1", "NYC", None, True),
        ("C2", "LA", None, True),
    ]
    assert crm("show", RAW, "--as-of", "2025-03-04").line("as of") == f"{RAW} as of 2025-03-04 (load_date {SECOND})"


def test_one_of_both_dates_is_given(crm: Crm) -> None:
    crm.fails(
        "--load-date is a load_date, and --as-of any day: give one of them.",
        *("show", DIM, "--as-of", FIRST, "--load-date", FIRST),
        code=2,
    )
    crm.fails(
        f"No load_date of {DIM} up to 2025-02-28 is published in the home {crm.kpi.home}: give a later day; the first "
        f"is {FIRST}.",
        *("show", DIM, "--as-of", "2025-02-28"),
    )


def test_a_difference_names_keys_and_columns(crm: Crm) -> None:
    said = crm("diff", DIM, FIRST, THIRD)
    assert [" ".join(line.split()) for line in said.out.splitlines() if line.strip()[:1] not in {"", "─"}] == [
        f"{DIM} from {FIRST} to {THIRD}",
        "customer_id change column before after",
        "C1 changed city NYC LA",
        "C1 changed score 1.0 1.00",
        "C2 went",
        "C3 came",
        "column type changed sum before sum after sum changed by",
        "city text 1",
        "score numeric 1 3.0 1.00 -2.00",
        "1 came, 1 went, 1 changed (city 1, score 1), 0 unchanged.",
    ]
    assert crm("diff", RAW, FIRST, SECOND).out.splitlines()[-1] == "0 came, 0 went, 1 changed (city 1), 1 unchanged."
    limited = crm("diff", DIM, FIRST, THIRD, "--limit", 1)
    assert limited.line("of 3 keys") == "1 of 3 keys: --limit and --format csv show more."
    assert crm("diff", DIM, THIRD, THIRD.replace(day=2)).line("unchanged").startswith("1 came, 1 went, 0 changed, 1 un")


def test_a_difference_is_exported(crm: Crm) -> None:
    said = crm("diff", DIM, FIRST, SECOND, "--format", "csv")
    assert said.out == "customer_id,change,column,before,after\nC1,changed,city,NYC,LA\nC1,changed,score,1.0,1.00\n"
    assert said.err == "0 came, 0 went, 1 changed (city 1, score 1), 1 unchanged.\n"
    found = json.loads(crm("diff", DIM, FIRST, THIRD, "--format", "json").out)
    changed = {"city": {"before": "NYC", "after": "LA"}, "score": {"before": "1.0", "after": "1.00"}}
    assert found == [
        {"change": "changed", "key": {"customer_id": "C1"}, "columns": changed},
        {"change": "went", "key": {"customer_id": "C2"}, "columns": {}},
        {"change": "came", "key": {"customer_id": "C3"}, "columns": {}},
    ]
    crm.fails(f"{FIRST} is compared with itself: give two load_dates.", *("diff", DIM, FIRST, FIRST), code=2)
    crm.fails(
        "--no-formulas is for spreadsheets: give --format csv too, or leave it out.",
        *("diff", DIM, FIRST, SECOND, "--no-formulas"),
        code=2,
    )
    crm.fails(
        f"{DIM} of 2025-03-04 is not published in the home {crm.kpi.home}: land and run the load_date first.",
        *("diff", DIM, FIRST, "2025-03-04"),
    )


def test_a_difference_by_column(crm: Crm) -> None:
    said = crm("diff", DIM, FIRST, THIRD, "--columns", "--format", "csv")
    assert said.out == (
        "column,type,changed,sum_before,sum_after,sum_changed_by\n"
        "name,text,0,,,\ncity,text,1,,,\nscore,numeric,1,3.0,1.00,-2.00\n"
    )
    assert said.err == "1 came, 1 went, 1 changed (city 1, score 1), 0 unchanged.\n"
    assert json.loads(crm("diff", DIM, FIRST, THIRD, "--columns", "--format", "json").out)[2] == {
        "column": "score",
        "type": "numeric",
        "changed": 1,
        "sum_before": "3.0",
        "sum_after": "1.00",
        "sum_changed_by": "-2.00",
    }
    shown = crm("diff", DIM, FIRST, THIRD, "--columns")
    assert shown.line("score numeric") == "score numeric 1 3.0 1.00 -2.00"
    assert shown.line("name text") == "name text 0"
    assert shown.line(" to ") == f"{DIM} from {FIRST} to {THIRD}"
    crm.fails(
        "--limit counts keys, and --columns prints none: leave one of them out.",
        *("diff", DIM, FIRST, SECOND, "--columns", "--limit", 3),
        code=2,
    )


@pytest.mark.nightly
def test_what_a_held_candidate_would_change(crm: Crm) -> None:
    """The object of a load_date is replaced by one that has a customer twice, and another city."""
    key = f"raw/customers/load_date={SECOND}/customers.csv"
    bad = HEAD + "C1,John,Rome,1.00\nC2,Ann,LA,2\nC2,Ann,NYC,2\nC4,Ann,LA,7\n"
    crm.kpi.s3.put_object(Bucket=BUCKET, Key=key, Body=bad.encode())
    crm("run", "--load-date", SECOND, code=3)
    words = ("diff", RAW, "--load-date", SECOND, "--candidate")
    said = crm(*words)
    lines = [" ".join(line.split()) for line in said.out.splitlines() if line.strip()[:1] not in {"", "─"}]
    note = lines.pop(-3)
    assert lines == [
        f"{RAW} from {SECOND} to the held candidate of {SECOND}",
        "customer_id change column before after",
        "C1 changed city LA Rome",
        "C2 repeated 2 rows",
        "C4 came",
        "column type changed sum before sum after sum changed by",
        "city text 1",
        "score numeric 0 3.00 12.00 9.00",
        f"customer_id is not unique in the held candidate of {SECOND}, which cannot be published: 1 key is in several "
        "of its rows, and its values are not compared.",
        "1 came, 0 went, 1 changed (city 1), 1 repeated, 0 unchanged.",
    ]
    assert "was held by grain; read from s3://" in note
    assert json.loads(crm(*words, "--format", "json").out)[1] == {
        "change": "repeated",
        "key": {"customer_id": "C2"},
        "columns": {},
        "rows": 2,
    }
    assert crm(*words, "--format", "csv").out == (
        "customer_id,change,column,before,after\nC1,changed,city,LA,Rome\nC2,repeated,,,\nC4,came,,,\n"
    )
    of_first = crm("diff", RAW, FIRST, "--load-date", SECOND, "--candidate")
    assert of_first.line(" to the held") == f"{RAW} from {FIRST} to the held candidate of {SECOND}"
    crm.kpi.s3.put_object(Bucket=BUCKET, Key=key, Body=(HEAD + OBJECTS[SECOND]).encode())
    crm("run", "--load-date", SECOND)
    assert crm("diff", RAW, SECOND, SECOND.replace(day=5)).line("unchanged").endswith(", 1 unchanged.")


def test_a_difference_has_two_sides(crm: Crm) -> None:
    for sentence, words in (
        ("Two sides are compared: give two load_dates, --load-date and --candidate, or --publish.", (FIRST,)),
        ("--candidate is that of one load_date: give --load-date too.", (FIRST, "--candidate")),
        (
            f"{SECOND} is the load_date to compare with, and so is --candidate: leave one of them out.",
            (FIRST, SECOND, "--candidate", "--load-date", THIRD),
        ),
        (
            "--load-date names the load_date of a held candidate or of two publishes: give --candidate or --publish "
            "too; two published load_dates are given by their dates alone.",
            (FIRST, "--load-date", SECOND),
        ),
        ("--publish names both sides: leave the load_dates and --candidate out.", (FIRST, "--publish", 1, 2)),
        ("Publish 2 is compared with itself: give two publishes.", ("--publish", 2, 2)),
    ):
        crm.fails(sentence, "diff", DIM, *words, code=2)


@pytest.mark.nightly
def test_a_load_date_is_taken_out_and_built_again(crm: Crm) -> None:
    versions = "select customer_id, city, effective_date, end_date from marts.customers order by 1, 3"
    before = crm.kpi.rows(versions, database=NAME)
    words = ("drop", DIM, "--load-date", SECOND)
    asked = crm.kpi.process("drop", NAME, *words[1:], code=2, KPI_SQL_DIR=str(crm.sql))
    assert asked.line("will be dropped") == f"{DIM} of {SECOND} (2 rows) will be dropped."
    assert asked.line("warning") == (
        f"warning: s3.customers of {SECOND} still lies on S3, so the next run of {SECOND} builds it again: remove what "
        "should not have landed first."
    )
    assert "error: Nobody answered, so nothing was dropped: give --yes to drop it." in asked.err
    assert crm.kpi.rows(versions, database=NAME) == before

    said = crm(*words, "--yes")
    assert said.line("dropped marts") == f"dropped {DIM} of {SECOND} (2 rows); the ledger keeps what was published."
    assert crm.kpi.rows(versions, database=NAME) == [
        ("C1", "NYC", FIRST, date(2025, 3, 4)),
        ("C1", "LA", THIRD, None),
        ("C2", "LA", FIRST, date(2025, 3, 4)),
        ("C3", "=1+1", THIRD, None),
    ]
    assert crm("show", DIM, "--as-of", SECOND).line("as of") == f"{DIM} as of {SECOND} (load_date {FIRST})"
    crm.fails(
        f"{DIM} of {SECOND} is not published in the home {crm.kpi.home}: there is nothing to drop.", *words, code=1
    )
    planned = json.loads(crm("plan", "--from", SECOND, "--to", SECOND, "--format", "json").out)
    assert [(found["state"], found["reason"]) for found in planned] == [
        ("stale", f"Never built for this load_date: {DIM}.")
    ]
    crm("run", "--load-date", SECOND)
    assert crm.kpi.rows(versions, database=NAME) == before


@pytest.mark.nightly
def test_what_stores_no_rows_or_has_no_file_is_dropped_whole(crm: Crm) -> None:
    read = crm("drop", RAW, "--load-date", FIRST, "--yes")
    assert read.line("read by") == (
        f"It was read by {DIM} ({FIRST}, 2 rows), which stays as it is until it is built again."
    )
    assert read.line("warning").startswith(
        f"warning: s3.customers of {FIRST} still lies on S3, so the sensor or the next run of {FIRST} builds it again"
    )
    crm("run", "--load-date", FIRST)
    path = crm.sql / NAME / "marts/customers.sql"
    path.rename(path.with_name("people.sql"))
    try:
        crm.fails(
            f"No file describes {DIM}, so it can only be dropped whole: leave --load-date out.",
            *("drop", DIM, "--load-date", FIRST, "--yes"),
            code=2,
        )
        crm.fails(
            f"marts.people is not published in the home {crm.kpi.home}: land and run a load_date first.",
            *("show", "marts.people", "--as-of", FIRST),
        )
    finally:
        path.with_name("people.sql").rename(path)
