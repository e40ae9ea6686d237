"""The reason that an error of Postgres gives, without the personal values that it may quote.

Postgres quotes the value that a type refuses, the key that is there twice, and the row that breaks a constraint. Of a
table with personal columns, the reason is its first sentence without what it quotes, and the names of the constraint,
the table and the column that the error is about.

Not here: the sentence around a reason, and remedies (refusal.py).
"""

import psycopg

from kpi_assets.model import excerpt
from kpi_assets.model.pii import Pii, without_quotes

# Errors about the SQL and the server: they quote names, and no values of rows.
_ABOUT_NO_VALUE = ("08", "0A", "25", "28", "2B", "3D", "3F", "40", "42", "53", "54", "55", "57", "58")


def reason_of(error: BaseException, pii: Pii) -> str:
    """Return what an error says; of a table with personal columns, or of one that reads some, without any value."""
    said = str(error)
    if not pii or not isinstance(error, psycopg.Error):
        return said
    diag, state = error.diag, error.sqlstate or ""
    if state.startswith(_ABOUT_NO_VALUE) or (not state and diag.message_primary is None):
        return diag.message_primary or said
    names = {"constraint": diag.constraint_name, "table": diag.table_name, "column": diag.column_name}
    about = ", ".join(f"{what} {name}" for what, name in names.items() if name)
    reason = without_quotes(diag.message_primary or type(error).__name__)
    return f"{reason} ({about})" if about else reason


def one_line(error: psycopg.Error, pii: Pii = Pii()) -> str:  # noqa: B008  a frozen value
    """Return the reason of an error in one line, for use within a sentence."""
    return excerpt.cut(" ".join(reason_of(error, pii).split()), excerpt.MESSAGE)
