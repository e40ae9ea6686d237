"""Functions through which a SELECT reads or does what its text does not name: other tables, files, settings, locks.

What a question may read is proved from its text, so such a call would escape the proof: `query_to_xml` runs any SELECT,
and `set_config` takes the rights of a reader off. A lock or a setting would also outlive the answer in its session.

Not here: the clock and chance (clock.py).
"""

from sqlglot import exp

_BEGINNINGS = ("pg_", "lo_", "dblink", "query_to_", "table_to_xml", "schema_to_xml", "database_to_xml", "cursor_to_xml")
_NAMES = ("set_config", "setval", "currval", "lastval", "ts_stat", "ts_rewrite", "crosstab", "connectby")
_HARMLESS = ("pg_typeof",)


def is_beyond(node: exp.Expr) -> bool:
    """Return whether a node calls such a function."""
    if not isinstance(node, exp.Anonymous):
        return False
    name = node.name.lower()
    return name not in _HARMLESS and (name in _NAMES or name.startswith(_BEGINNINGS))
