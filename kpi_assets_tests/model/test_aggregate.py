"""What the value of a measure may be: each part that is known, each that is refused, and the SQL that is executed."""

import pytest

from kpi_assets.model.aggregate import LONGEST, aggregate

TYPES = {
    "orders": "bigint",
    "revenue": "numeric(30,2)",
    "share": "double precision",
    "country": "text",
    "paid": "boolean",
    "day": "date",
    "seen": "timestamp with time zone",
    "device": "uuid",
    "tags": "text[]",
    "user": "integer",
}


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("count(*)", "(count(*))::numeric"),
        ("SUM( Orders )  -- all of them", '(sum("orders"::numeric))::numeric'),
        ("sum(user)", '(sum("user"::numeric))::numeric'),
        ("count(distinct device)", '(count(distinct "device"))::numeric'),
        ("count(tags)", '(count("tags"))::numeric'),
        (
            "sum(revenue) / sum(orders)",
            '(sum("revenue"::numeric))::numeric / nullif((sum("orders"::numeric))::numeric, 0)',
        ),
        (
            "sum(share * orders) / nullif(sum(orders), 0)",
            '(sum("share"::numeric * "orders"::numeric))::numeric / '
            'nullif(nullif((sum("orders"::numeric))::numeric, 0::numeric), 0)',
        ),
        (
            "sum(orders) - sum(orders) * 2 / 3",
            '(sum("orders"::numeric))::numeric - '
            '(((sum("orders"::numeric))::numeric * 2::numeric) / nullif(3::numeric, 0))',
        ),
        ("-(max(orders) + 0.5)", '(- ((max("orders"::numeric))::numeric + 0.5::numeric))'),
        ("coalesce(min(revenue), 0)", 'coalesce((min("revenue"::numeric))::numeric, 0::numeric)'),
        (
            "count(*) filter (where day = load_date and not (paid or country is null))",
            '(count(*) filter (where ("day" = "load_date" and (not (("paid" or ("country" is null)))))))::numeric',
        ),
        (
            "avg(revenue) filter (where country in ('it''s', 'de') and orders between 1 and 9)",
            """(avg("revenue"::numeric) filter (where (("country" in ('it''s', 'de')) and """
            """("orders"::numeric >= 1::numeric and "orders"::numeric <= 9::numeric))))::numeric""",
        ),
        ("count(*) filter (where paid is true)", '(count(*) filter (where ("paid" is true)))::numeric'),
        ("count(*) filter (where paid is not false)", '(count(*) filter (where (not ("paid" is false))))::numeric'),
        ("count(*) filter (where day is not null)", '(count(*) filter (where ("day" is not null)))::numeric'),
        (
            "count(*) filter (where orders not in (1) and orders not between 2 and 3)",
            '(count(*) filter (where ((not ("orders"::numeric in (1::numeric))) and '
            '(not ("orders"::numeric >= 2::numeric and "orders"::numeric <= 3::numeric)))))::numeric',
        ),
        (
            "count(*) filter (where seen >= '2025-01-31 23:59:59+01:00' and country <> 'a;b')",
            """(count(*) filter (where ("seen" >= '2025-01-31 23:59:59+01:00' and "country" <> 'a;b')))::numeric""",
        ),
        (
            "count(*) filter (where device = '6f1c1c4e-0d3b-4c57-9d56-1d8f9d0c3a11')",
            """(count(*) filter (where "device" = '6f1c1c4e-0d3b-4c57-9d56-1d8f9d0c3a11'))::numeric""",
        ),
    ],
)
def test_the_sql_of_an_aggregate_is_written_anew_with_exact_numbers(text: str, sql: str) -> None:
    assert aggregate(text, TYPES).sql == sql


def test_the_columns_of_an_aggregate_are_those_that_it_reads() -> None:
    found = aggregate("sum(revenue) filter (where day = load_date and user > 1) / count(distinct country)", TYPES)
    assert found.columns == ("country", "day", "load_date", "revenue", "user")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pg_sleep(1)", "'PG_SLEEP(1)' cannot stand in a measure: a measure is made of sum, count, avg, min and max"),
        ("lo_import('/etc/passwd')", "\"LO_IMPORT('/etc/passwd')\" cannot stand in a measure"),
        ("sum(pg_sleep(1))", "'PG_SLEEP(1)' cannot stand in a measure"),
        ("sum(orders) + (select 1)", "'(SELECT 1)' cannot stand in a measure: a measure reads the rows of its own"),
        ("sum(orders) filter (where orders in (select 1))", "'orders IN (SELECT 1)' cannot stand in a measure"),
        ("sum(orders) over ()", "'SUM(orders) OVER ()' cannot stand in a measure: a measure has one value for all"),
        ("sum(orders)::integer", "'CAST(SUM(orders) AS INT)' cannot stand in a measure: take the cast out"),
        ("cast(sum(orders) as text)", "'CAST(SUM(orders) AS TEXT)' cannot stand in a measure: take the cast out"),
        ("sum(case when paid then 1 end)", "'CASE WHEN paid THEN 1 END' cannot stand in a measure: write `sum(a) fil"),
        ("sum(orders) from marts.other", "'sum(orders) from marts.other' is not one expression"),
        ("sum(orders) where paid", "'sum(orders) where paid' is not one expression"),
        ("sum(orders) union select 1", "'sum(orders) union select 1' is not one expression"),
        ("sum(orders), sum(revenue)", "'sum(orders), sum(revenue)' is not one expression"),
        ("sum(orders) into other", "'sum(orders) into other' is not one expression"),
        ("distinct sum(orders)", "'distinct sum(orders)' is not one expression"),
        ("sum(orders); drop table x", "'sum(orders); drop table x' has a semicolon: a measure is one expression"),
        ("sum(orders);", "'sum(orders);' has a semicolon"),
        ("sum(orders) as total", "'SUM(orders) AS total' cannot stand in a measure"),
        ("sum(sold.orders)", "sold.orders names a table: write the column alone"),
        ("sum(%(load_date)s)", "it has a percent sign, which begins a parameter, and a measure has none: take it out"),
        ("sum(orders) % 2", "it has a percent sign"),
        ("sum(:orders)", "cannot stand in a measure: a measure has no parameters: compare with the column load_date"),
        ("sum($1)", "'$1' cannot stand in a measure: a measure has no parameters"),
        ("orders", "'orders' stands outside an aggregate, and a load_date has one number: write sum(orders)"),
        ("sum(revenue) / orders", "'orders' stands outside an aggregate"),
        ("1 + 1", "'1 + 1' has no aggregate, and a load_date has one number: write sum(…), count(*), avg(…), min(…)"),
        ("sum(sum(orders))", "SUM(orders) stands within sum(): write one aggregate a column"),
        ("sum(orders) filter (where max(orders) > 1)", "MAX(orders) stands within filter (where …)"),
        ("sum(orders) filter (where paid", "'sum(orders) filter (where paid' is no SQL expression"),
        ("sum(orders) + 'x", "is no SQL expression"),
        ("max(orders, user)", "max must have one column: write max(column)"),
        ("count(distinct orders, user)", "count must have one column: write count(column)"),
        ("count()", "count must have one column"),
        ("sum(*)", "'*' cannot stand in a measure"),
        ("sum(orders order by day)", "cannot stand in a measure"),
        ("count(*) filter (where day > current_date)", "'CURRENT_DATE' cannot stand in a measure"),
        ("count(*) filter (where country like 'a')", "\"country LIKE 'a'\" cannot stand in a measure"),
        ("sum(orders ^ 2)", "'POWER(orders, 2)' cannot stand in a measure"),
        ("sum(orders) * 1e400", "'1e400' is not a plain decimal number: write digits and a point"),
        ("sum(country)", "'country' is a text: a number must stand here"),
        ("max(day)", "'day' is a date or time: a number must stand here"),
        ("sum(tags)", "'tags' is of type text[]: a number must stand here"),
        ("sum(orders) filter (where orders)", "'orders' is a number: true or false must stand here"),
        ("sum(orders) > 3", "'sum(orders) > 3' is true or false, and a measure is a number"),
        ("count(*) filter (where orders = '1')", "orders and '1' cannot be compared: they must be numbers, texts or"),
        ("count(*) filter (where country = 1)", "country and 1 cannot be compared"),
        ("count(*) filter (where tags = tags)", "tags and tags cannot be compared"),
        ("count(*) filter (where day > 'soon')", "'soon' is no date: write '2025-01-31' or"),
        ("count(*) filter (where day > '2025-02-30')", "'2025-02-30' is no date"),
        ("count(*) filter (where day > '2025-W01-1')", "'2025-W01-1' is no date"),
        ("count(*) filter (where device = 'x')", "'x' is no uuid: write its 32 hex digits in five groups"),
        ("count(*) filter (where country = null)", "nothing equals null: write `is null` or `is not null`"),
        ("coalesce(sum(orders), 'none')", "cannot be compared"),
        ("(" * 400 + "sum(orders)" + ")" * 400, "it is nested too deeply: compute parts of it in the SELECT"),
        ("sum(orders)" + " + 1" * LONGEST, "it has 8,011 characters, more than 2,000"),
    ],
)
def test_anything_else_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        aggregate(text, TYPES)
    assert sentence in str(caught.value)
