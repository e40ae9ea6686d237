"""Which checks are made of the object of a raw table, before any of its rows is read.

Not here: making them (verify_object.py), for which S3 is asked.
"""

from kpi_assets.model.checks.base import Check
from kpi_assets.model.table import Table


def checks(table: Table) -> list[Check]:
    """Return the checks of a raw table's object, in the order in which they are made."""
    is_pattern = table.source.key.is_pattern
    found = [
        Check("exists", "The object lies on S3 under its key." if not is_pattern else "All its objects lie on S3."),
        *([Check("carried", "It is the latest that was due.", blocking=False)] * bool(table.source.carried_days)),
        *([Check("objects", "Each object is of this load_date alone, and there are not too many.")] * is_pattern),
        Check("not_empty", "It has bytes." if not is_pattern else "Each has bytes."),
        Check("header", table.format.start_check),
    ]
    if checks_last_record(table):
        blocking = table.source.ends_with_line_end == "hold"
        found.append(Check("ends_with_line_end", "Its last record was not cut off.", blocking=blocking))
    return found


def checks_last_record(table: Table) -> bool:
    """Return whether the check `ends_with_line_end` applies to the table. The end of a packed object is not known."""
    is_known = table.format.ends_with_line_end and not table.source.compression
    return is_known and table.source.ends_with_line_end != "ignore"
