"""`kpi measures`: the values that readers see, for people and programs, and computed anew when a header was changed."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.cli.small import FIRST, upload, write_sql
from kpi_assets_tests.pipeline_harness import MART

NAME = "measured"
DAY, NEXT = FIRST + timedelta(days=80), FIRST + timedelta(days=81)
KPI = """\
kpi:
  chart: {x: thing_id, y: weight}
  measures:
    weight: {title: Weight, value: sum(weight), format: decimal1, unit: kg, alert: {above: 40}}
@end"""
MORE = "    things: {title: Things, value: count(*)}\n@end"
BIG = b"thing_id,name,weight\n1,anvil,1234.56\n"


def sql_with(folder: Path, kpi: str) -> dict[str, str]:
    return {"KPI_SQL_DIR": str(write_sql(folder, name=NAME, things=MART.replace("@end", kpi)))}


def test_the_measures_of_a_kpi_are_printed_and_refreshed(kpi: CliHarness, tmp_path: Path) -> None:
    plain = {"KPI_SQL_DIR": str(write_sql(tmp_path / "plain", name=NAME))}
    first = sql_with(tmp_path / "first", KPI)
    then = sql_with(tmp_path / "then", KPI.replace("sum(weight)", "2 * sum(weight)").replace("@end", MORE))
    kpi.fails(
        "No table of measured has measures: write kpi: {measures: …} into the file of one.",
        *("measures", NAME),
        code=2,
        **plain,
    )
    for day in (DAY, NEXT):
        upload(kpi, day)
    kpi("run", NAME, "--load-date", DAY, **plain)
    said = kpi("measures", NAME, **first)
    assert said.line("marts.things", "weight") == f"marts.things weight {DAY} – kg missing"
    assert said.err == (
        "1 of 1 values is not computed as the headers say now: `kpi measures measured --refresh` computes them anew.\n"
    )
    kpi("run", NAME, "--load-date", NEXT, **first)
    said = kpi("measures", NAME, "--refresh", **first)
    assert said.err == "marts.things: 1 value of 1 load_date computed\n"
    assert said.line("marts.things", "weight") == f"marts.things weight {NEXT} 20.5 kg current"
    said = kpi("measures", NAME, "marts.things", "--load-date", DAY, **first)
    assert (said.line("marts.things", "weight"), said.err) == (f"marts.things weight {DAY} 20.5 kg current", "")

    said = kpi("measures", NAME, "--format", "csv", **then)
    [publish_id] = {line.split(",")[-2] for line in said.out.splitlines()[1:]}
    assert said.out.splitlines() == [
        "kpi,measure,load_date,value,state,publish_id,final",
        f"marts.things,weight,{NEXT},20.50,older,{publish_id},",
        f"marts.things,things,{NEXT},,missing,{publish_id},",
    ]
    said = kpi("measures", NAME, "--refresh", "--format", "json", **then)
    assert said.err == "marts.things: 4 values of 2 load_dates computed\n"
    assert json.loads(said.out) == [
        {
            "kpi": "marts.things",
            "measure": name,
            "load_date": str(NEXT),
            "value": value,
            "state": "current",
            "publish_id": int(publish_id),
            "final": None,
        }
        for name, value in (("weight", "41.00"), ("things", "1"))
    ]
    assert kpi("measures", NAME, "--refresh", **then).err == "marts.things: all values are as the header says\n"

    sentence = f"marts.things: Weight is 41.0, above 40.0, on {NEXT}"
    assert kpi("alerts", NAME, **then).line(f"{NEXT} breached").endswith(sentence)
    kpi("measures", NAME, "--refresh", **first)
    said = kpi("alerts", NAME, "--past", **first)
    assert said.out.startswith(f"No incident of {NAME} is open.\n")
    assert said.line(f"{NEXT} breached").endswith(sentence)


@pytest.mark.nightly
def test_what_cannot_be_printed_is_said(kpi: CliHarness, tmp_path: Path) -> None:
    first, never = sql_with(tmp_path / "first", KPI), FIRST + timedelta(days=200)
    for words, said in (
        (("raw.things",), f"raw.things has no measures: write kpi: {{measures: …}} into {tmp_path}/first/measured/raw"),
        (("--refresh", "--load-date", never), "--refresh computes the values of all load_dates: leave --load-date out"),
    ):
        assert kpi("measures", NAME, *words, code=2, **first).err.startswith(f"error: {said}")
    upload(kpi, DAY)
    kpi("run", NAME, "--load-date", DAY, **first)
    said = kpi("measures", NAME, "--load-date", never, code=1, **first).err
    assert said.startswith(f"error: marts.things is not published for {never} in ")
    assert said.endswith(": run that load_date first.\n")


@pytest.mark.nightly
def test_what_is_trusted_follows_a_load_date_that_is_taken_out(kpi: CliHarness, tmp_path: Path) -> None:
    days = [FIRST + timedelta(days=number) for number in (90, 91)]
    declared = sql_with(tmp_path, KPI.replace("kpi:\n", "freshness: {within_hours: 24}\nkpi:\n", 1).replace("40", "20"))
    for day in days:
        upload(kpi, day)
        kpi("run", NAME, "--load-date", day, **declared)
    trust = "select load_date, gate, due_by is not null from ops.kpi_trust where kpi = 'marts.things'"
    assert kpi.rows(trust, database=NAME) == [(days[1], "late", True)]
    kpi("drop", NAME, "marts.things", "--load-date", days[1], "--yes", **declared)
    assert kpi.rows(trust, database=NAME) == [(days[0], "late", True)]
    breached = "select load_date from ops.alerts where kind = 'breached' and closed_at is null"
    assert kpi.rows(breached, database=NAME) == [(days[0],)]


def test_it_is_said_whether_a_number_is_final(kpi: CliHarness, tmp_path: Path) -> None:
    day = FIRST + timedelta(days=95)
    upload(kpi, day)
    for days, word, exact in ((3, "final", "true"), (3660, "provisional", "false")):
        declared = sql_with(tmp_path / word, KPI.replace("kpi:\n", f"kpi:\n  final: {{after_days: {days}}}\n", 1))
        kpi("run", NAME, "--load-date", day, **declared)
        words = ("measures", NAME, "--load-date", day)
        assert kpi(*words, **declared).line("marts.things", "weight").endswith(f" current {word}")
        assert kpi(*words, "--format", "csv", **declared).out.splitlines()[1].endswith(f",{exact}")
