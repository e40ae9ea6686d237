"""Asks Postgres whether a text is a value of a type, on servers that have a function for that and on older ones.

Not here: what follows for the record or the decision that has the text (quarantine.py, corrections.py).
"""

from typing import Any

from psycopg import Connection, sql

INPUT_FUNCTIONS_SINCE = 160000  # the first server version with pg_input_error_info()

# For older servers: the same result, but each value costs a subtransaction. A cast cuts a text to its length without a
# word, which the type's input function refuses to do.
_INPUT_ERROR = """
create or replace function pg_temp.input_error(value text, type text) returns text language plpgsql as $$
begin
    if type ~ '^character.*[0-9]' then
        execute pg_catalog.format(
            'select pg_catalog.%s(%L::cstring, 0::oid, %s)',
            case when type like '% varying%' then 'varcharin' else 'bpcharin' end,
            value, substring(type from '[0-9]+')::integer + 4
        );
    else
        execute pg_catalog.format('select %L::%s', value, type);
    end if;
    return null;
exception when data_exception then
    return sqlerrm;
end $$
"""


def input_error(connection: Connection[Any], value: sql.Composable, type_: sql.Composable) -> sql.Composable:
    """Return SQL for why Postgres refuses a value of a type, or NULL; both are given as SQL for texts."""
    if connection.info.server_version >= INPUT_FUNCTIONS_SINCE:
        return sql.SQL("(pg_input_error_info({}, {})).message").format(value, type_)
    connection.execute(_INPUT_ERROR)
    return sql.SQL("pg_temp.input_error({}, {})").format(value, type_)
