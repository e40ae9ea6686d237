"""Sets aside the rows of a candidate that break a rule, and applies what was decided on them.

The rows lie in a table beside the candidate, as they were selected, with the rules that they break and what became of
them. One statement moves them there, so each row is in exactly one of the two tables.
Belongs here: moving the rows, and putting back those that were corrected or accepted. Not here: the queries of rules
(model/checks/), the values of decisions (corrections.py), and ops.quarantine (ledger/quarantine.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Connection, sql
from sqlglot import exp

from kpi_assets.model import excerpt
from kpi_assets.model.checks.bad_rows import BadRows
from kpi_assets.model.checks.base import AuditFacts
from kpi_assets.model.decision import Decision
from kpi_assets.model.names import LOAD_DATE, LOW_VOLUME
from kpi_assets.model.pii import MASKED, masked_row
from kpi_assets.model.records import SetAside
from kpi_assets.model.results import SAMPLES
from kpi_assets.model.table import Table
from kpi_assets.model.table_ref import THIS
from kpi_assets.warehouse import corrections
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.ddl import DefinitionError, column_definitions, identifier

# The columns that the table has besides those of its rows, in capitals, unlike the names of columns. A row that was
# corrected is there twice: as it was selected, and as it is in the candidate, with the NUMBER of the first in CORRECTS.
_COLUMNS = '"NUMBER" bigint generated always as identity, "RULES" text[], "STATE" text, "REASON" text, '
_COLUMNS += '"DECISION" text, "CORRECTS" bigint'
_OWN = ["NUMBER", "RULES", "STATE", "REASON", "DECISION", "CORRECTS"]
_FEW = 10_000  # rows that are found by their places in the table, without a scan of it
_ROW = "ROW"  # the column that identifies a row while it is judged


def create(connection: Connection[Any], candidate: Candidate) -> None:
    """Create the table for the rows that are set aside, without rows."""
    aside = identifier(candidate.aside)
    connection.execute(sql.SQL("drop table if exists {}").format(aside))
    connection.execute(
        sql.SQL("create table {} ({}, {}) with (autovacuum_enabled = false)").format(
            aside, column_definitions(candidate.table), sql.SQL(_COLUMNS)
        )
    )


def drop(connection: Connection[Any], candidate: Candidate) -> None:
    """Drop the table of the rows that are set aside."""
    connection.execute(sql.SQL("drop table if exists {}").format(identifier(candidate.aside)))


def take_out(connection: Connection[Any], candidate: Candidate, facts: AuditFacts) -> None:
    """Move the rows that break a rule out of the candidate, or out of a slice of it, in the caller's transaction.

    Raises DefinitionError if a rule does not say which rows it sets aside.
    """
    _create_judged(connection, sql.SQL("select ctid as {}, * from {}").format(sql.Identifier(_ROW), candidate.name))
    broken = _broken(connection, candidate.table, facts, across=sql.SQL("pg_temp.judged"), plain=candidate.name)
    # A statement of its own, because Postgres reads nothing in parallel for a statement that deletes.
    count = connection.execute(
        sql.SQL("create temporary table broken on commit drop as {}").format(broken), facts.parameters
    ).rowcount
    connection.execute("drop view pg_temp.judged")
    if count:
        few = sql.SQL("and t.ctid = any (array(select {} from pg_temp.broken))").format(sql.Identifier(_ROW))
        connection.execute(
            sql.SQL(
                "with gone as (delete from {candidate} as t using pg_temp.broken as b where t.ctid = b.{row} {few} "
                'returning {of_row}, b.rules as "RULES") insert into {aside} ({columns}, "RULES", "STATE") '
                "select {columns}, \"RULES\", 'waiting' from gone"
            ).format(
                candidate=candidate.name,
                row=sql.Identifier(_ROW),
                few=few if count <= _FEW else sql.SQL(""),
                of_row=_columns(candidate.table, "t"),
                aside=identifier(candidate.aside),
                columns=_columns(candidate.table),
            )
        )


def apply(connection: Connection[Any], candidate: Candidate, facts: AuditFacts, decisions: Sequence[Decision]) -> int:
    """Apply decisions to the rows that were taken out of the whole candidate; return how many found no row.

    Of several decisions on a row the last one counts. A row that was corrected is judged by the same rules. What cannot
    be put back waits, with the reason.
    """
    if not decisions:
        return 0
    aside, unused = identifier(candidate.aside), _match(connection, candidate, decisions)
    connection.execute(
        sql.SQL(
            'update {aside} as a set "DECISION" = d.place, "REASON" = d.problem, '
            "\"STATE\" = case when d.kind = 'discard' then 'discarded' else a.\"STATE\" end "
            'from pg_temp.matched as m inner join pg_temp.decisions as d using (number) where a."NUMBER" = m.of_row'
        ).format(aside=aside)
    )
    connection.execute(
        sql.SQL(
            'create temporary table released on commit drop as select a.{row}, a."KIND", {columns} from ('
            'select a.*, a."NUMBER" as {row}, d.kind as "KIND", d.put as "PUT" from {aside} as a '
            'inner join pg_temp.matched as m on a."NUMBER" = m.of_row '
            "inner join pg_temp.decisions as d on m.number = d.number "
            "where d.kind <> 'discard' and d.problem is null) as a"
        ).format(row=sql.Identifier(_ROW), columns=_corrected(candidate.table), aside=aside)
    )
    _keep_what_breaks_rules(connection, candidate, facts)
    _keep_what_has_no_key_of_its_own(connection, candidate)
    _put_back(connection, candidate)
    return unused


def counts(connection: Connection[Any], candidate: Candidate, unused: int = 0) -> SetAside:
    """Count the rows that were taken out, by what became of them and by rule."""
    aside = identifier(candidate.aside)
    by_state = dict(
        connection.execute(
            sql.SQL('select "STATE", count(*) from {} where "CORRECTS" is null group by 1').format(aside)
        ).fetchall()
    )
    if not by_state:
        return SetAside(unused=unused)
    by_rule = dict(
        connection.execute(
            sql.SQL(
                'select rule, count(*) from {} cross join unnest("RULES") as rule where "STATE" = \'waiting\' '
                "group by 1"
            ).format(aside)
        ).fetchall()
    )
    refused = connection.execute(
        sql.SQL('select count(*) from {} where "STATE" = \'waiting\' and "DECISION" is not null').format(aside)
    ).fetchone()
    names = [rule.name for rule in candidate.table.rules]
    return SetAside(
        **by_state,
        by_rule={name: by_rule[name] for name in names if name in by_rule},
        refused=refused[0] if refused else 0,
        unused=unused,
        samples=_samples(connection, candidate),
    )


def _samples(connection: Connection[Any], candidate: Candidate) -> list[dict[str, Any]]:
    """Return a few of the rows that wait, each with the rules that it breaks."""
    row = sql.SQL('(select to_json("SHOWN") from (select {}) as "SHOWN")').format(
        sql.SQL(", ").join(sql.Identifier("a", name) for name in candidate.table.columns)
    )
    statement = sql.SQL(
        "select array_to_string(a.\"RULES\", ', '), {} from {} as a where a.\"STATE\" = 'waiting' order by {} limit {}"
    ).format(
        sql.SQL(excerpt.sql_cut_values(row.as_string(connection))),
        identifier(candidate.aside),
        sql.SQL(", ").join(sql.Identifier("a", name) for name in candidate.table.header.grain),
        sql.Literal(SAMPLES),
    )
    personal = candidate.table.pii.personal
    return [{"rules broken": rules, **masked_row(row, personal)} for rules, row in connection.execute(statement)]


def _columns(table: Table, of: str = "") -> sql.Composable:
    return sql.SQL(", ").join(sql.Identifier(*((of, name) if of else (name,))) for name in (LOAD_DATE, *table.columns))


def _create_judged(connection: Connection[Any], query: sql.Composable) -> None:
    """Create the view of the rows that are judged, which names each row; the rules read it as `{this}`."""
    connection.execute(sql.SQL("create temporary view judged as {}").format(query))


def _broken(
    connection: Connection[Any],
    table: Table,
    facts: AuditFacts,
    across: sql.Composable,
    plain: sql.Composable,
) -> sql.Composable:
    """Return a query of the rows of pg_temp.judged that break rules, each once, with the names of these rules.

    A rule that looks at more than one row reads `across`, or `plain` if it combines SELECTs: the same rows without ROW.
    """
    row, judged = sql.Identifier(_ROW), sql.SQL("pg_temp.judged")
    found: list[sql.Composable] = []
    shared: list[tuple[int, BadRows, str]] = []
    for number, rule in enumerate(table.rules):
        predicate = rule.rule_predicate(facts)
        if predicate:  # all of these share one scan
            shared.append((number, rule, predicate))
            continue
        is_select = isinstance(rule.rows.tree, exp.Select)
        relation = judged if rule.rows.is_row_wise else across if is_select else plain
        text = rule.rows.executed_on(facts.substitutes).split(THIS)
        query = sql.SQL("(\n{}\n)").format(sql.SQL(relation.as_string(connection)).join(map(sql.SQL, text)))
        names = _names(connection, query, facts)
        if names.count(_ROW) == 1:
            join = sql.SQL("{} as q where q.{} is not null").format(query, row)
            found.append(_one(number, rule, sql.SQL("q.{}").format(row), join))
        elif all(names.count(column) == 1 for column in table.header.grain):
            same = sql.SQL(" and ").join(
                sql.SQL("q.{0} is not distinct from t.{0}").format(sql.Identifier(column))
                for column in table.header.grain
            )
            join = sql.SQL("{} as t inner join {} as q on {}").format(judged, query, same)
            found.append(_one(number, rule, sql.SQL("t.{}").format(row), join))
        else:
            grain, remedy = ", ".join(table.header.grain), f"as `select * from {THIS} where …` does"  # noqa: S608
            raise DefinitionError(
                f"{table.path}:{rule.line}: the rule {rule.name} does not say which rows it sets aside: return each of "
                f"{grain} once, {remedy}."
            )
    if shared:
        predicates = [sql.SQL("({}\n)").format(sql.SQL(predicate)) for _, _, predicate in shared]
        values = sql.SQL(", ").join(
            sql.SQL("({}, {}, {})").format(sql.Literal(number), sql.Literal(rule.name), predicate)
            for (number, rule, _), predicate in zip(shared, predicates, strict=True)
        )
        found.append(
            sql.SQL(
                "select t.{row}, b.number, b.rule from (select * from {judged} where {any}) as t "
                "cross join lateral (values {values}) as b (number, rule, is_broken) where b.is_broken"
            ).format(row=row, judged=judged, any=sql.SQL(" or ").join(predicates), values=values)
        )
    return sql.SQL(
        "select {row}, array_agg(rule order by number) as rules from ({found}) as t ({row}, number, rule) "
        "group by {row}"
    ).format(row=row, found=sql.SQL(" union ").join(found))


def _one(number: int, rule: BadRows, row: sql.Composable, source: sql.Composable) -> sql.Composable:
    return sql.SQL("select {}, {}, {} from {}").format(row, sql.Literal(number), sql.Literal(rule.name), source)


def _names(connection: Connection[Any], query: sql.Composable, facts: AuditFacts) -> list[str]:
    """Return the names of the columns that a query returns."""
    cursor = connection.execute(sql.SQL("select * from {} as q limit 0").format(query), facts.parameters)
    return [column.name for column in cursor.description or ()]


def _match(connection: Connection[Any], candidate: Candidate, decisions: Sequence[Decision]) -> int:
    """Find the decision that counts for each row, in pg_temp.matched; return how many decisions found no row."""
    corrections.load(connection, candidate.table, decisions)
    connection.execute(
        sql.SQL(
            'create temporary table pairs on commit drop as select "ASIDE"."NUMBER" as of_row, d.number '
            'from {} as "ASIDE" '
            'inner join pg_temp.decisions as d on to_jsonb("ASIDE") - {}::text[] @> d.is_on '
            # A list and a document contain parts of themselves, and are no others for that.
            'where not exists (select from jsonb_each(d.is_on) as e where to_jsonb("ASIDE") -> e.key <> e.value)'
        ).format(identifier(candidate.aside), sql.Literal(_OWN))
    )
    connection.execute(
        "create temporary table matched on commit drop as "
        "select of_row, max(number) as number from pg_temp.pairs group by of_row"
    )
    found = connection.execute("select count(distinct number) from pg_temp.pairs").fetchone()
    return len(decisions) - (found[0] if found else 0)


def _corrected(table: Table) -> sql.Composable:
    """Return the columns of a row `a` with the texts of `a."PUT"` in the place of its values."""
    values: dict[str, sql.Composable] = {LOAD_DATE: sql.Identifier("a", LOAD_DATE)}
    for name, type_ in table.types.items():
        values[name] = sql.SQL('case when a."PUT" ? {1} then (a."PUT" ->> {1})::{2} else a.{0} end').format(
            sql.Identifier(name), sql.Literal(name), sql.SQL(type_)
        )
    if volume := table.header.min_volume:
        values[LOW_VOLUME] = sql.SQL("({} >= {}) is not true").format(
            values[volume.column], sql.Literal(volume.at_least)
        )
    return sql.SQL(", ").join(sql.SQL("{} as {}").format(value, sql.Identifier(name)) for name, value in values.items())


def _keep_what_breaks_rules(connection: Connection[Any], candidate: Candidate, facts: AuditFacts) -> None:
    """Leave aside each row whose correction breaks a rule; a rule that looks at more rows sees the candidate too."""
    table, row = candidate.table, sql.Identifier(_ROW)
    columns = _columns(table)
    _create_judged(connection, sql.SQL("select {}, {} from pg_temp.released").format(row, columns))
    connection.execute(
        sql.SQL(
            "create temporary view across as select {row}, {columns} from pg_temp.released "
            "union all select null, {columns} from {candidate}"
        ).format(row=row, columns=columns, candidate=candidate.name)
    )
    connection.execute(sql.SQL("create temporary view plain as select {} from pg_temp.across").format(columns))
    broken = _broken(connection, table, facts, across=sql.SQL("pg_temp.across"), plain=sql.SQL("pg_temp.plain"))
    reason = sql.Literal("it was corrected, and then breaks ")
    connection.execute(
        sql.SQL(
            "with broken as ({broken}), kept as (delete from pg_temp.released as r using broken as b "
            "where r.{row} = b.{row} and r.\"KIND\" = 'correct' returning r.{row}, b.rules) "
            "update {aside} as a set \"REASON\" = {reason} || array_to_string(k.rules, ', ') from kept as k "
            'where a."NUMBER" = k.{row}'
        ).format(broken=broken, row=row, aside=identifier(candidate.aside), reason=reason),
        facts.parameters,
    )
    connection.execute("drop view pg_temp.judged, pg_temp.plain, pg_temp.across")


def _keep_what_has_no_key_of_its_own(connection: Connection[Any], candidate: Candidate) -> None:
    """Leave aside each row whose key is NULL or is that of another row: with it the load_date would be held."""
    grain = candidate.table.header.grain
    key = sql.SQL(", ").join(map(sql.Identifier, grain))
    shown = sql.SQL(" || ', ' || ").join(
        sql.SQL("{} || case when r.{} is null then 'NULL' else {} end").format(
            sql.Literal(f"{name} "),
            sql.Identifier(name),
            sql.Literal(MASKED)
            if name in candidate.table.pii.personal
            else sql.SQL("r.{}::text").format(sql.Identifier(name)),
        )
        for name in grain
    )
    connection.execute(
        sql.SQL(
            "with taken as (select {key} from pg_temp.released group by {key} having count(*) > 1 "
            "union select {key} from {candidate} where ({key}) in (select {key} from pg_temp.released)), "
            "kept as (delete from pg_temp.released as r where ({of_row}) in (select {key} from taken) "
            'or {any_null} returning r.{row}, r."KIND" as kind, {shown} as shown, {any_null} as is_null) '
            "update {aside} as a set \"REASON\" = case k.kind when 'correct' then {corrected} else {accepted} end "
            '|| case when k.is_null then {null} else {other} end || k.shown from kept as k where a."NUMBER" = k.{row}'
        ).format(
            key=key,
            candidate=candidate.name,
            of_row=sql.SQL(", ").join(sql.Identifier("r", name) for name in grain),
            any_null=sql.SQL("({})").format(
                sql.SQL(" or ").join(sql.SQL("r.{} is null").format(sql.Identifier(name)) for name in grain)
            ),
            row=sql.Identifier(_ROW),
            shown=shown,
            aside=identifier(candidate.aside),
            corrected=sql.Literal("it was corrected, and then "),
            accepted=sql.Literal("it was accepted, but "),
            null=sql.Literal("its key would be NULL: "),
            other=sql.Literal("another row has its key: "),
        )
    )


def _put_back(connection: Connection[Any], candidate: Candidate) -> None:
    words: Mapping[str, sql.Composable] = {
        "candidate": candidate.name,
        "aside": identifier(candidate.aside),
        "columns": _columns(candidate.table),
        "row": sql.Identifier(_ROW),
    }
    connection.execute(
        sql.SQL("insert into {candidate} ({columns}) select {columns} from pg_temp.released").format(**words)
    )
    connection.execute(
        sql.SQL(
            "update {aside} as a set \"STATE\" = case r.\"KIND\" when 'correct' then 'corrected' else 'accepted' end "
            'from pg_temp.released as r where a."NUMBER" = r.{row}'
        ).format(**words)
    )
    connection.execute(
        sql.SQL(
            'insert into {aside} ({columns}, "CORRECTS") select {columns}, {row} from pg_temp.released '
            "where \"KIND\" = 'correct'"
        ).format(**words)
    )
