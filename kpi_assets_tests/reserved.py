"""A pipeline in which every name is a reserved word of SQL: pipeline, schemas, tables, columns, checks and rules."""

from kpi_assets_tests.pipeline_harness import PipelineHarness

NAME = "from"  # also a keyword of Python, which Dagster accepts as the name of no job

FILES = {
    "pipeline.yaml": """\
        description: All names are words of SQL.
        bucket: BUCKET
        start_date: 2025-01-01
        layers: {table: raw, all: staging, user: marts}
        readers: [user]
        automation: {start: none}
        retention: {table: 30, all: 30}
        """,
    "table/group.sql": """\
        /* @asset
        description: Groups as delivered.
        owner: team:tests
        grain: [end]
        source: {object: "raw/group/load_date={load_date}/group.csv", format: csv, same_bytes: ignore}
        columns:
          end: {type: text, description: End.}
          desc: {type: text, description: Its name.}
        @end */
        """,
    "table/order.sql": """\
        /* @asset
        description: Orders as delivered.
        owner: team:tests
        grain: [user]
        storage: partitions
        source:
          object: raw/order/load_date={load_date}/order.csv
          format: csv
          same_bytes: ignore
        quarantine: {rows: 1}
        columns:
          user: {type: integer, description: User.}
          end: {type: text, description: End.}
          all: {type: "numeric(6,2)", description: Amount.}
          rows: {type: integer, description: Number.}
          bad: {type: integer, description: "Number; also what samples of bad rows come from."}
        checks:
          min_rows: {of_previous: 0.5}
          not_null: [end]
          accepted_values: {end: [a, b]}
          range: {all: [0, null]}
          unique: {primary: [rows, bad]}
          foreign_key: {end: table.group.end}
          or: {severity: warn, bad_rows: 'select * from {this} where "all" > 50'}
        @end */
        """,
    "all/check.sql": """\
        /* @asset
        description: Orders with the names of their ends.
        owner: team:tests
        grain: [user, rows]
        versions: latest
        columns:
          user: {type: integer, description: User.}
          rows: {type: integer, description: Number.}
          case: {type: text, description: Name of the end.}
          all: {type: "numeric(6,2)", description: Amount.}
        checks:
          reconcile: {source: table.order, sum: '"all"', dropped: {not: '"all" is null'}}
          with: {reconcile: {source: table.order, dropped: {not: '"all" is null'}}}
        @end */
        select
            o."user",
            o.rows,
            "group"."desc" as "case",
            o."all"
        from "table"."order" as o
        inner join "table"."group" using (load_date, "end")
        where o.load_date = %(load_date)s and o."all" is not null
        """,
    "all/collate.sql": """\
        /* @asset
        description: Orders as they are.
        owner: team:tests
        grain: [references]
        storage: view
        columns:
          references: {type: integer, description: User.}
          then: {type: "numeric(6,2)", description: Amount.}
        @end */
        select
            "user" as "references",
            "all" as "then"
        from "table"."order"
        where load_date = %(load_date)s
        """,
    "user/end.sql": """\
        /* @asset
        description: Amount by user.
        owner: team:tests
        grain: [references]
        storage: partitions
        columns:
          references: {type: integer, description: User.}
          then: {type: "numeric(6,2)", description: Amount.}
        checks:
          and: {bad_rows: 'select t.* from {this} as t inner join "all"."check" as c on t."references" = c."user"
            where c.load_date = %(load_date)s and t."then" <> c."all"'}
        @end */
        select
            "references",
            "then"
        from "all"."collate"
        where load_date = %(load_date)s
        """,
    "user/limit.sql": """\
        /* @asset
        description: Amount by the name of the end.
        owner: team:tests
        grain: [case]
        kpi: {chart: {x: case, y: all}}
        min_volume: {column: select, at_least: 2}
        freshness: {within_hours: 36}
        columns:
          case: {type: text, description: Name of the end.}
          all: {type: numeric, description: Amount.}
          select: {type: bigint, description: Orders.}
        checks:
          reconcile: {source: all.check, counted: sum("select")}
        @end */
        select
            "case",
            sum("all") as "all",
            count(*) as "select"
        from "all"."check"
        where load_date = %(load_date)s
        group by "case"
        """,
    "user/window.sql": """\
        /* @asset
        description: Amount over three days, each order once.
        owner: team:tests
        grain: [case]
        lookback: 3
        kpi: {chart: {x: case, y: all}}
        columns:
          case: {type: text, description: Name of the end.}
          all: {type: numeric, description: Amount.}
        checks:
          reconcile: {source: all.check, sum: '"all"'}
        @end */
        select
            "case",
            sum("all") as "all"
        from "all"."check"
        where load_date between %(window_start)s and %(load_date)s
        group by "case"
        """,
}
GROUPS = b"end,desc\na,first\nb,last\n"
# The second order causes a warning, the third has no amount, and the fourth is quarantined.
ORDERS = b"user,end,all,rows,bad\n1,a,10.50,1,1\n2,b,60.00,1,2\n3,a,,1,3\n4,b,x,1,4\n5,a,1.25,1,5\n"


def write(lab: PipelineHarness) -> None:
    """Write the files of the pipeline."""
    for name, text in FILES.items():
        lab.file(name, text.replace("BUCKET", lab.bucket))
