"""Refusals: what is not portable, why, an example, and the portable way to write it.

The reference page and the tests are made from these lists; each example is refused for its reason, and each portable
way is translated and gives on every engine what it gives on Postgres. Not here: finding what is refused.
"""

from dataclasses import dataclass

from sqlglot import exp

from kpi_assets.model.table_ref import THIS


@dataclass(frozen=True)
class Refusal:
    """A reason to refuse SQL: what it is, why engines differ, an example, and the portable way (empty if none)."""

    what: str
    why: str
    example: str
    instead: str = ""

    @property
    def sentence(self) -> str:
        """The problem as a sentence without its end."""
        return f"{self.why}: " + (f"write {self.instead}, for example" if self.instead else "leave it to Postgres")


# The examples are over the table of the probes: see kpi_assets_tests/model/portable/.
REFUSALS = {
    "type": Refusal(
        "a type that engines do not share",
        "its values are held or written differently on each engine",
        "n::double precision",
        "n::numeric(38,6)",
    ),
    "digits": Refusal(
        "a number of more than 38 digits",
        "an engine keeps 38 digits, and this may have more",
        "(d * d * d * d)::numeric(20,2)",
        "((d * d)::numeric(12,2) * (d * d)::numeric(12,2))::numeric(20,2)",
    ),
    "numeric": Refusal(
        "`numeric` without its digits",
        "another engine takes 10 digits and none after the point",
        "n::numeric",
        "n::numeric(20,6)",
    ),
    "cast": Refusal(
        "a cast whose result or whose errors differ",
        "each engine reads or writes such values in its own way",
        "t::integer",
        "case t when 'a' then 1 end",
    ),
    "quoted": Refusal(
        "a constant in quotes that is no text",
        "each engine reads it in its own way",
        "n = '1'",
        "n = 1",
    ),
    "quotient": Refusal(
        "a division that is not rounded",
        "each engine keeps other digits after the point",
        "sum(d / 3)",
        "sum(round(d / 3, 6))",
    ),
    "places": Refusal(
        "a quotient rounded to more than 6 places, or to more than 12 where what is divided has, less the digits after "
        "the point of the divisor, at most 16 before its own",
        "an engine has no place for so many digits of a quotient",
        "round(b / 3.0, 12)",
        "round(b::numeric(16,0) / 3, 12)",
    ),
    "large_quotient": Refusal(
        "a division of numbers with more than 16 places, or by one with more than 12, or of quotients",
        "an engine has 38 digits for both sides of the point",
        "round(n::numeric(30,20) / 3, 2)",
        "round(n::numeric(30,10) / 3, 2)",
    ),
    "round": Refusal(
        "rounding, `ceil` and `floor` of what is no numeric, or to negative places",
        "it is floating point on Postgres, or has another type elsewhere",
        "ceil(n)",
        "n",
    ),
    "operands": Refusal(
        "operands that the operator has no rule for",
        "their types are brought together in another way on each engine",
        "t || n",
        "t || n::text",
    ),
    "text_order": Refusal(
        "the order of text",
        "it depends on the language of the server",
        "t < 'b'",
        "t collate \"C\" < 'b'",
    ),
    "filter_over": Refusal(
        "FILTER of a window",
        "an engine has no such window",
        "count(*) filter (where n > 1) over (partition by f)",
        "count(case when n > 1 then 1 end) over (partition by f)",
    ),
    "row_order": Refusal(
        "a window whose result depends on the order of equal rows",
        "rows that are equal in the order come in any order: order by the grain",
        "row_number() over (order by f)",
        "row_number() over (order by f, id)",
    ),
    "date_part": Refusal(
        "parts of a date that engines count or write differently",
        "it is written or counted differently on each engine",
        "extract(epoch from moment)",
        "extract(hour from moment)",
    ),
    "date_trunc": Refusal(
        "`date_trunc` of a date that stays a timestamp with time zone",
        "it depends on the time zone of the session",
        "date_trunc('month', day)",
        "date_trunc('month', day)::date",
    ),
    "interval": Refusal(
        "intervals",
        "each engine has intervals of its own",
        "day - interval '1 day'",
        "day - 1",
    ),
    "pattern": Refusal(
        "`like` with anything but a plain constant pattern",
        "the escape character is not the same on each engine",
        "t like 'a\\_%%'",
        "t like 'a%%'",
    ),
    "regex": Refusal(
        "regular expressions",
        "each engine has another language of patterns",
        "t ~ '^a'",
        "t like 'a%%'",
    ),
    "case_of_letters": Refusal(
        "upper and lower case",
        "letters beyond ASCII differ between engines and servers",
        "lower(t)",
        "translate(t, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')",
    ),
    "position": Refusal(
        "a part of a text at a place that is no constant from 1",
        "places before the first and after the last are counted differently on each engine",
        "substring(t from n for 2)",
        "substring(t from 1 for 2)",
    ),
    "array": Refusal(
        "arrays, JSON, ranges, records and `generate_series`",
        "the order of elements and what is NULL differ between engines",
        "count(distinct (n, f))",
        "count(distinct n)",
    ),
    "ordered_aggregate": Refusal(
        "aggregates that need an order, such as `percentile_cont`, `mode`, `array_agg` and `string_agg`",
        "the order of rows is lost, or the result is floating point",
        "percentile_cont(0.5) within group (order by n)",
    ),
    "float": Refusal(
        "functions whose result is floating point",
        "the last digits depend on the engine and on the order of rows",
        "stddev(n)",
    ),
    "time_zone": Refusal(
        "time zones and the clock",
        "it depends on the session",
        "moment at time zone 'UTC'",
        "moment",
    ),
    "limit": Refusal(
        "LIMIT, OFFSET and FETCH",
        "which rows are left out depends on the engine",
        "(select n from probes.values_of limit 1)",
        "(select min(n) from probes.values_of)",
    ),
    "correlated": Refusal(
        "a subquery that reads the rows around it, other than in `where exists` and `where ... in`",
        "an engine may not be able to execute it",
        "(select max(o.n) from probes.values_of as o where o.id = values_of.id)",
        "max(n) over (partition by id)",
    ),
    "subquery": Refusal(
        "`exists` and `in (select ...)` outside of WHERE",
        "an engine may not be able to execute it there",
        "count(*) filter (where exists (select 1 from probes.values_of))",
        "(select count(*) from probes.values_of where exists (select 1 from probes.values_of as o))",
    ),
    "lateral": Refusal(
        "LATERAL, NATURAL, TABLESAMPLE, ROLLUP, CUBE, GROUPING SETS and functions in FROM",
        "engines differ in them or lack them",
        "(select max(g) from generate_series(1, 3) as g)",
        "(select max(v.g) from (values (1), (2), (3)) as v(g))",
    ),
    "recursive": Refusal(
        "WITH RECURSIVE",
        "engines differ in it or lack it",
        "(with recursive r as (select 1 as i union all select i + 1 from r where i < 3) select max(i) from r)",
        "(with r as (select 3 as i) select max(i) from r)",
    ),
    "function": Refusal(
        "any function or operator that the list above does not name",
        "it is not known to mean the same on each engine",
        "md5(t)",
    ),
}

# What Postgres does with the rows of a table besides its SELECT. The examples are parts of headers and SELECTs.
OF_TABLES = {
    "history": Refusal(
        "a history",
        "Postgres makes and keeps its versions",
        "storage: history",
        "storage: partitions",
    ),
    "history_read": Refusal(
        "reading a history, also by a check",
        "its versions stay on Postgres, and one SELECT cannot read both",
        "from marts.customers",
        "from marts.customer_days where load_date = %(load_date)s",
    ),
    "stream": Refusal(
        "the raw table of a stream",
        "its batches are added within Postgres",
        "source: {stream: clicks, object: raw/clicks/load_date={load_date}/, format: ndjson}",
        "source: {object: raw/clicks/load_date={load_date}/clicks.parquet, format: parquet}",
    ),
    "grows": Refusal(
        "a table that grows",
        "its batches are added within Postgres",
        "where load_date = %(load_date)s and batch = %(batch)s",
        "where load_date = %(load_date)s",
    ),
    "rules": Refusal(
        "rules that set rows aside",
        "the rows wait in Postgres for a decision",
        "quarantine: {rows: 5, rules: {not_null: [name]}}",
        "checks: {not_null: [name]}",
    ),
}

# How the objects of a raw table are written. The examples are words of headers.
OF_OBJECTS = {
    "format": Refusal(
        "objects in JSON",
        "one record may have several lines, and an engine reads line by line",
        "source: {format: json}",
        "source: {format: parquet}",
    ),
    "encoding": Refusal(
        "another encoding than UTF-8",
        "an engine reads bytes as UTF-8",
        "source: {encoding: cp1252}",
        "source: {encoding: utf-8}",
    ),
    "compression": Refusal(
        "packed objects",
        "an engine cannot read a part of one",
        "source: {format: csv, compression: gzip}",
        "source: {format: parquet}",
    ),
    "extra": Refusal(
        "keeping the fields that are no column",
        "they are one JSON, which engines write differently",
        "source: {extra: keep}",
        "source: {extra: ignore}",
    ),
    "comment": Refusal(
        "the position of records between comments",
        "an engine counts lines, and comments are lines too",
        'source: {comment: "#", position: record_number}',
        'source: {comment: "#"}',
    ),
    "column_format": Refusal(
        "a format of dates",
        "engines have other words for formats",
        "day: {type: date, format: M/D/YYYY}",
        "day: {type: date}",
    ),
    "column_allow": Refusal(
        "NaN and infinity",
        "no column of an engine holds them",
        'amount: {type: "numeric(12,2)", allow: [nan]}',
        'amount: {type: "numeric(12,2)", null: ["", NaN]}',
    ),
    "column_round": Refusal(
        "rounding while reading",
        "each engine rounds in its own way",
        'amount: {type: "numeric(12,2)", round: half_even}',
        'amount: {type: "numeric(12,6)"}',
    ),
}

# What a pipeline with a lake cannot have, whatever its SQL says. The examples are parts of files.
OF_LAKE = {
    "no_lake": Refusal(
        "`storage: lake` without the word `lake` of pipeline.yaml",
        "nothing says which engine computes it, and which catalog has its rows",
        "storage: lake",
        "lake: {engine: spark, catalog: kpi}",
    ),
    "both": Refusal(
        "a SELECT that reads tables of the lake and of Postgres",
        "no engine reads both",
        "from stg.orders inner join stg.users using (user_id)",
        "storage: lake",
    ),
    "carry_on": Refusal(
        "carrying on from the load_date before",
        "a snapshot has one load_date as it was written, and this reads another that may change",
        "where load_date = %(previous_load_date)s",
        "lookback: {days: 28, rows: all}",
    ),
    "view": Refusal(
        "a view of a table of the lake",
        "a view in Postgres shows rows of Postgres",
        "storage: view",
        "storage: lake",
    ),
    "check": Refusal(
        "a check of a table in Postgres that reads a table of the lake, other than `reconcile` without `on`",
        "Postgres checks its own rows, and no query reads both",
        "checks: {foreign_key: {product_id: marts.products.product_id}}",
        "checks: {reconcile: {source: marts.orders, counted: sum(orders)}}",
    ),
    "check_of_lake": Refusal(
        "a check of a table of the lake that reads a table of Postgres",
        "the engine checks its own rows, and no query reads both",
        "checks: {foreign_key: {product_id: marts.products.product_id}}",
        "storage: lake",
    ),
    "kpi": Refusal(
        "a KPI on the lake",
        "readers ask Postgres, which has the rows of each KPI",
        "kpi: {chart: {x: country, y: revenue}}",
        "storage: rows",
    ),
    "indexes": Refusal(
        "indexes on the lake",
        "a table of Apache Iceberg has none",
        "indexes: {by_customer: [customer_id]}",
    ),
    "readers": Refusal(
        "a masked view of a table on the lake",
        "the catalog of the cluster says who reads a table, and Postgres does not",
        "readers: mask",
        "storage: rows",
    ),
    "subject": Refusal(
        "persons whom `kpi erase` finds",
        "snapshots keep the rows of an erased person",
        "subject: {customer: customer_id}",
        "storage: partitions",
    ),
    "rollback": Refusal(
        "rows that are kept for `kpi rollback`",
        "only Postgres shows kept rows again",
        "rollback: {keep: 2, days: 14}",
        "storage: partitions",
    ),
    "question": Refusal(
        "a question that reads a table of the lake",
        "readers ask Postgres",
        "select count(*) as orders from stg.orders where load_date = %(load_date)s",
        "select sum(orders) as orders from marts.kpi_orders where load_date = %(load_date)s",
    ),
}

# What is refused for a reason of its own, by its kind; everything else without a rule is refused as "function".
OF_KIND: dict[type[exp.Expr], str] = {
    **dict.fromkeys((exp.RegexpLike, exp.RegexpReplace, exp.RegexpILike, exp.RegexpExtract, exp.SimilarTo), "regex"),
    exp.ILike: "case_of_letters",
    **dict.fromkeys((exp.Upper, exp.Lower, exp.Initcap), "case_of_letters"),
    **dict.fromkeys((exp.Interval, exp.ToChar), "interval"),
    **dict.fromkeys(
        (exp.AtTimeZone, exp.CurrentDate, exp.CurrentTimestamp, exp.CurrentTime, exp.Localtimestamp), "time_zone"
    ),
    **dict.fromkeys(
        (exp.PercentileCont, exp.PercentileDisc, exp.Mode, exp.ArrayAgg, exp.GroupConcat, exp.WithinGroup),
        "ordered_aggregate",
    ),
    **dict.fromkeys(
        (
            *(
                exp.Stddev,
                exp.StddevPop,
                exp.StddevSamp,
                exp.Variance,
                exp.VariancePop,
                exp.Corr,
                exp.CovarPop,
                exp.CovarSamp,
            ),
            *(exp.Sqrt, exp.Exp, exp.Ln, exp.Log, exp.Pow, exp.Cbrt, exp.Sign, exp.Rand),
        ),
        "float",
    ),
    **dict.fromkeys(
        (exp.Array, exp.Tuple, exp.Bracket, exp.Unnest, exp.JSONExtract, exp.JSONExtractScalar, exp.Any), "array"
    ),
    exp.Lateral: "lateral",
}
# The same for functions that only have a name.
OF_NAME = dict.fromkeys(
    ("row", "array_position", "array_length", "cardinality", "to_jsonb", "jsonb_array_elements"), "array"
)


class NotPortableError(Exception):
    """A part of a SELECT is refused: the key of the reason, the node, and what more is to be said of it."""

    def __init__(self, key: str, node: exp.Expr, detail: str = "") -> None:
        text = node.sql(dialect="postgres", comments=False).replace(f'"{THIS}"', THIS)
        shown = "this SELECT" if isinstance(node, exp.Query) else text if len(text) <= 60 else text[:57] + "..."
        super().__init__(f"{shown} is not portable, because {detail or REFUSALS[key].sentence}")
        self.key, self.node = key, node
