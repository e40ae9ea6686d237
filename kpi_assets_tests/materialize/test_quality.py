"""The quality score of real builds: what each check counts, the gate, the report, and the same from DuckDB."""

import json
import random
from pathlib import Path
from typing import Any

import duckdb
import pytest

from kpi_assets.errors import UserError
from kpi_assets.materialize.recheck import recheck
from kpi_assets.model.results import CheckResult
from kpi_assets.read.quality import QualityReport, read_quality
from kpi_assets_tests.pipeline_harness import DAY, NEXT, PipelineHarness

CITIES = """\
/* @asset
description: Cities that we deliver to.
owner: team:tests
grain: [city]
source: {object: "raw/cities/load_date={load_date}/cities.csv", format: csv}
columns:
  city: {type: text, description: City.}
@end */
"""
CUSTOMERS = """\
/* @asset
description: Customers as delivered.
owner: team:tests
grain: [record_number]
source:
  object: raw/customers/load_date={load_date}/customers.csv
  format: csv
  position: record_number
quarantine: {rows: 50}
quality: {}
columns:
  customer_id: {type: text, description: Customer.}
  email: {type: text, description: "Address, as it was typed."}
  age: {type: integer, description: Years.}
  city: {type: text, description: City.}
checks:
  severity: warn
  not_null: [customer_id, email]
  unique: {customer: [customer_id]}
  range: {age: [0, 120]}
  foreign_key: {city: raw.cities.city}
  address: {bad_rows: "select * from {this} where email not like '%%@%%'", severity: warn, dimension: consistency}
@end */
"""
HEADER = b"customer_id,email,age,city\n"
COUNTED = """
with records as (
    select *, row_number() over () as n, try_cast(age as integer) as years, age is not null and years is null as unread
    from read_csv(?, header = true, all_varchar = true)
), loaded as (select * from records where not unread)
select
    (select count(*) from records),
    (select count(*) from loaded),
    (select count(*) from records where unread),
    (select count(*) from loaded where customer_id is null or email is null),
    (select count(*) from loaded where customer_id in (
        select customer_id from loaded group by customer_id having count(*) > 1)),
    (select count(*) from loaded where years not between 0 and 120),
    (select count(*) from loaded where city not in ('Bonn', 'Graz')),
    (select count(*) from loaded where not contains(email, '@'))
"""


@pytest.fixture
def shop(lab: PipelineHarness) -> PipelineHarness:
    """A pipeline whose customers may be dirty, and whose cities are published for two load_dates."""
    lab.file("raw/cities.sql", CITIES)
    lab.file("raw/customers.sql", CUSTOMERS)
    for day in (DAY, NEXT):
        lab.put(f"raw/cities/load_date={day}/cities.csv", b"city\nBonn\nGraz\n")
        lab.build("raw.cities", day)
    return lab


def put_customers(shop: PipelineHarness, *lines: str, day: Any = DAY) -> None:
    shop.put(f"raw/customers/load_date={day}/customers.csv", HEADER + "".join(f"{line}\n" for line in lines).encode())


def built(shop: PipelineHarness, day: Any = DAY, **changes: Any) -> dict[str, CheckResult]:
    return {result.name: result for result in shop.build("raw.customers", day, **changes).results}


def report_of(shop: PipelineHarness, day: Any = None) -> QualityReport:
    with shop.session() as session:
        return read_quality(session, shop.pipeline(), day, place="the home")


def dirty_lines(rows: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [
        ",".join(
            (
                draw.choice(["", f"C{number}", f"C{number // 3}"]),
                draw.choice(["", f"c{number}@x.org", f"c{number}@x.org", f"c{number}"]),
                draw.choice(["", "7", "44", "120", "121", "-1", *(["old"] if number % 40 == 0 else [])]),
                draw.choice(["", "Bonn", "Graz", "Oslo"]),
            )
        )
        for number in range(rows)
    ]


def test_the_score_of_a_dirty_delivery_is_that_which_duckdb_computes(shop: PipelineHarness, tmp_path: Path) -> None:
    lines = dirty_lines(600, seed=16)
    put_customers(shop, *lines)
    results = built(shop)
    path = tmp_path / "customers.csv"
    path.write_bytes(HEADER + "".join(f"{line}\n" for line in lines).encode())
    [found] = duckdb.execute(COUNTED, [str(path)]).fetchall()
    records, rows, unread, no_value, shared, ages, cities, addresses = found
    assert unread > 0 < min(found)
    expected = {
        "completeness": [("not_null", no_value, rows)],
        "uniqueness": [("grain", 0, rows), ("unique__customer", shared, rows)],
        "validity": [("quarantine", unread, records), ("range__age", ages, rows)],
        "consistency": [("address", addresses, rows)],
        "referential_integrity": [("foreign_key__city", cities, rows)],
    }
    parts = {name: (sum(c[1] for c in made), sum(c[2] for c in made)) for name, made in expected.items()}
    scores = {name: 100 * (of - bad) / of for name, (bad, of) in parts.items()}
    quality = results["quality"]
    assert quality.metric == pytest.approx(sum(scores.values()) / 5 - 0.005, abs=0.005)
    assert quality.samples == [
        {
            "dimension": name,
            "score": pytest.approx(scores[name] - 0.005, abs=0.005),
            "checks": [{"name": check, "bad": bad, "rows": of} for check, bad, of in expected[name]],
        }
        for name in expected
    ]
    recorded = shop.rows(
        "select dimension, check_name, rows_bad, rows_examined from ops.data_quality_results "
        "where table_name = 'raw.customers' and dimension is not null"
    )
    assert sorted(recorded) == sorted((name, *counts) for name, made in expected.items() for counts in made)
    [(metric, threshold, status, samples, weight)] = shop.rows(
        "select metric_value::float8, threshold, status, samples, rows_examined from ops.data_quality_results "
        "where check_name = 'quality'"
    )
    assert (metric, threshold, status, samples, weight) == (quality.metric, None, "pass", quality.samples, rows)
    assert quality.message.startswith(f"{quality.metric:g} of 100: completeness ")
    assert f"(unique__customer: {shared} of {rows} rows)" in quality.message


CLEAN = ("C1,a@x.org,7,Bonn", "C2,b@x.org,8,Graz", "C3,,9,Bonn", "C4,d@x.org,10,Graz")


def limited(shop: PipelineHarness, at_least: float) -> None:
    shop.file("raw/customers.sql", CUSTOMERS.replace("quality: {}", f"quality: {{at_least: {at_least}}}"))


def test_a_score_below_the_limit_holds_the_load_date(shop: PipelineHarness) -> None:
    put_customers(shop, *CLEAN)
    limited(shop, 95.01)
    outcome = shop.build("raw.customers")
    quality = outcome.results[-1]
    assert outcome.held
    assert [result.name for result in outcome.results if result.blocks_publish] == ["quality"]
    assert (quality.name, quality.passed, quality.blocking, quality.metric, quality.threshold) == (
        *("quality", False, True, 95.0, 95.01),
    )
    assert quality.message == "95 of 100, at least 95.01 is wanted: completeness 75 (not_null: 1 of 4 rows)"
    assert shop.rows("select count(*) from ops.published where asset = 'raw.customers'") == [(0,)]
    limited(shop, 95)
    outcome = shop.build("raw.customers")
    assert not outcome.held, "a score that is the limit is enough"
    assert outcome.results[-1].message == "95 of 100: completeness 75 (not_null: 1 of 4 rows)"


def test_without_a_limit_a_score_only_tells(shop: PipelineHarness) -> None:
    put_customers(shop, ",,,", ",,,")
    outcome = shop.build("raw.customers")
    quality = outcome.results[-1]
    assert (outcome.held, quality.passed, quality.blocking, quality.metric, quality.threshold) == (
        *(False, True, False, 80.0, None),
    )


def test_a_check_that_cannot_be_made_counts_every_row_as_bad(shop: PipelineHarness) -> None:
    put_customers(shop, *CLEAN)
    broken = "bad_rows: 'select * from {this} where 1 / (age - 7) > 1', severity: warn, dimension: validity"
    shop.file(
        "raw/customers.sql", CUSTOMERS.replace("address: {bad_rows", f"broken: {{{broken}}}\n  address: {{bad_rows")
    )
    results = built(shop)
    assert (results["broken"].verdict, results["broken"].bad, results["broken"].examined) == ("error", 4, 4)
    assert {part["dimension"]: part["score"] for part in results["quality"].samples}["validity"] == 66.66


def test_a_check_that_fails_on_nothing_counts_as_one_bad_row(shop: PipelineHarness) -> None:
    put_customers(shop)
    found = "min_rows: {at_least: 1, dimension: completeness, severity: warn}\n  not_null"
    shop.file("raw/customers.sql", CUSTOMERS.replace("not_null", found))
    outcome = shop.build("raw.customers")
    results = {result.name: result for result in outcome.results}
    assert not outcome.held
    counted = {name: (result.bad, result.examined) for name, result in results.items() if result.dimension}
    assert counted.pop("min_rows") == (1, 1)
    assert set(counted.values()) == {(0, 0)}
    assert results["quality"].metric == 80.0, "nothing was examined in four dimensions, and one is all bad"


def test_a_report_of_many_checks_is_recorded_whole(shop: PipelineHarness) -> None:
    put_customers(shop, *CLEAN)
    own = "".join(
        f"  {'wide_' * 6}{number}: {{bad_rows: 'select 1 from {{this}} where age < 0'}}\n" for number in range(60)
    )
    shop.file("raw/customers.sql", CUSTOMERS.replace("@end", own + "@end"))
    quality = built(shop)["quality"]
    [(samples,)] = shop.rows("select samples from ops.data_quality_results where check_name = 'quality'")
    assert samples == quality.samples
    [validity] = [part for part in samples if part["dimension"] == "validity"]
    assert len(validity["checks"]) == 62
    assert len(json.dumps(validity)) > 3000


CLEANED = """\
/* @asset
description: Customers that we know.
owner: team:tests
grain: [customer_id]
quarantine: {share: 0.5, rules: {range: {age: [0, 120]}}}
quality: {at_least: 50}
columns:
  customer_id: {type: text, description: Customer.}
  age: {type: integer, description: Years.}
checks:
  reconcile: {source: raw.customers, severity: warn, dropped: {unknown: customer_id is null}}
@end */
select
    customer_id,
    age
from raw.customers
where load_date = %(load_date)s and customer_id is not null and customer_id <> 'C2'
"""


def test_rows_that_rules_set_aside_and_rows_of_the_source_are_counted(shop: PipelineHarness) -> None:
    put_customers(shop, *CLEAN, "C5,e@x.org,121,Bonn", ",f@x.org,12,Bonn")
    shop.build("raw.customers")
    shop.file("stg/customers.sql", CLEANED)
    outcome = shop.build("stg.customers")
    assert not outcome.held
    assert {result.name: (result.bad, result.examined) for result in outcome.results if result.dimension} == {
        "quarantine": (1, 4),
        "grain": (0, 3),
        "reconcile": (1, 6),
    }
    assert outcome.results[-1].metric == 86.11, "the mean of 75, 100 and 5/6"
    context = shop.prepared(run_id="again")
    rechecked = {result.name: result for result in recheck(context, context.pipeline.table("stg.customers"), DAY)}
    assert "quarantine" not in rechecked, "a recheck sets nothing aside"
    assert rechecked["quality"] == outcome.results[-1], "it takes over what the build counted"
    [table] = [table for table in report_of(shop).tables if table.table_name == "stg.customers"]
    assert (table.state, table.rows) == ("rechecked", 3)
    assert [count.name for count in table.counts] == ["grain", "quarantine", "reconcile"]
    shop.file(
        "stg/customers.sql", CLEANED.replace("reconcile:", "few: {bad_rows: 'select 1 from {this}'}\n  reconcile:")
    )
    context = shop.prepared(run_id="third")
    rechecked = {result.name: result for result in recheck(context, context.pipeline.table("stg.customers"), DAY)}
    assert rechecked["quality"].metric == 75.39, "other checks are those of the file: validity is 3 of 7"


def test_the_report_of_a_load_date_puts_its_tables_together(shop: PipelineHarness) -> None:
    shop.file("raw/cities.sql", CITIES.replace("columns:", "quality: {at_least: 99}\ncolumns:"))
    shop.build("raw.cities")
    put_customers(shop, *CLEAN, *CLEAN[:2])
    limited(shop, 95)
    assert shop.build("raw.customers").held
    report = report_of(shop)
    # raw.customers: completeness 5/6, uniqueness (12 - 4)/12, and 100 in three dimensions; raw.cities: 100 in two.
    assert report.as_json() == {
        "pipeline": shop.name,
        "load_date": "2025-03-01",
        "score": 92.5,
        "rows": 8,
        "dimensions": {
            "completeness": 83.33,
            "uniqueness": 75.0,
            "validity": 100.0,
            "consistency": 100.0,
            "referential_integrity": 100.0,
        },
        "left_out": [],
        "tables": [
            {
                "table": "raw.cities",
                "score": 100.0,
                "at_least": 99.0,
                "status": "pass",
                "state": "published",
                "is_held": False,
                "run_id": "run-of-the-test",
                "checked_at": report.tables[0].checked_at.isoformat(),
                "rows": 2,
                "dimensions": [
                    {
                        "dimension": "uniqueness",
                        "score": 100.0,
                        "checks": [{"name": "grain", "bad": 0, "rows": 2}],
                    },
                    {
                        "dimension": "validity",
                        "score": 100.0,
                        "checks": [{"name": "quarantine", "bad": 0, "rows": 2}],
                    },
                ],
            },
            {
                "table": "raw.customers",
                "score": 90.0,
                "at_least": 95.0,
                "status": "fail",
                "state": "held",
                "is_held": True,
                "run_id": "run-of-the-test",
                "checked_at": report.tables[1].checked_at.isoformat(),
                "rows": 6,
                "dimensions": shop.rows(
                    "select samples from ops.data_quality_results "
                    "where check_name = 'quality' and table_name = 'raw.customers'"
                )[0][0],
            },
        ],
    }


def test_the_report_of_a_run_that_held_something_leaves_out_earlier_runs(shop: PipelineHarness) -> None:
    shop.file("raw/cities.sql", CITIES.replace("columns:", "quality: {}\ncolumns:"))
    shop.build("raw.cities", run_id="first")
    put_customers(shop, *CLEAN)
    shop.build("raw.customers", run_id="second")
    report = report_of(shop)
    assert ([table.table_name for table in report.tables], report.left_out) == (["raw.cities", "raw.customers"], ())
    assert report.run_ids == ["second", "first"]
    limited(shop, 99)
    assert shop.build("raw.customers", run_id="third").held
    report = report_of(shop)
    assert [(table.table_name, table.state) for table in report.tables] == [("raw.customers", "held")]
    assert (report.left_out, report.run_ids, report.score) == (["raw.cities"], ["third"], 95.0)
    assert report.as_json()["left_out"] == ["raw.cities"]
    shop.build("raw.cities", run_id="third")
    assert report_of(shop).left_out == []


def test_the_last_score_of_a_table_counts_also_of_two_builds_of_one_run(shop: PipelineHarness) -> None:
    put_customers(shop, *CLEAN)
    built(shop)
    put_customers(shop, *CLEAN[:2])
    built(shop)
    put_customers(shop, CLEAN[2], day=NEXT)
    built(shop, NEXT)
    [table] = report_of(shop, DAY).tables
    assert (table.rows, [count.rows for count in table.counts]) == (2, [2] * 7)
    assert report_of(shop).load_date == NEXT, "the load_date that was scored last"
    assert (report_of(shop).score, report_of(shop, DAY).score) == (80.0, 100.0)


def test_where_there_is_no_score_the_error_says_what_to_do(shop: PipelineHarness) -> None:
    for day, of_day in ((None, ""), (DAY, f" of {DAY}")):
        with pytest.raises(UserError) as caught:
            report_of(shop, day)
        assert str(caught.value) == (
            f"No table of {shop.name}{of_day} has a quality score yet in the home: run a load_date that has one of "
            "raw.customers."
        )
    shop.file("raw/customers.sql", CUSTOMERS.replace("quality: {}\n", ""))
    with pytest.raises(UserError) as caught:
        report_of(shop)
    assert str(caught.value) == (
        f"No table of {shop.name} has a quality score: write `quality: {{}}` into a header, then run one."
    )


def test_a_check_of_the_users_own_with_the_name_is_no_score(shop: PipelineHarness) -> None:
    own = CUSTOMERS.replace("quality: {}\n", "").replace("address:", "quality:")
    shop.file("raw/customers.sql", own)
    put_customers(shop, *CLEAN)
    assert built(shop)["quality"].dimension == "consistency"
    shop.file("raw/customers.sql", CUSTOMERS)
    with pytest.raises(UserError, match="has a quality score yet"):
        report_of(shop, DAY)
