"""What a field of a header affects: the rows of the table, their checks, the verification of its object, or nothing.

Belongs here: the classification, which each field carries as `Annotated[type, Affects.ROWS]`. Not here: the versions
that are derived from it (versions.py).
"""

from enum import Flag, auto

from pydantic.fields import FieldInfo


class Affects(Flag):
    """What must be done again when the field's value changes; a field may affect several of them."""

    NOTHING = 0  # a description, or how rows are stored, read or shown
    ROWS = auto()  # the same input gives another table: part of code_version
    CHECKS = auto()  # the same rows may be judged differently: part of checks_version
    OBJECT = auto()  # the same object may be judged differently: part of object_version


def affected_by(field: FieldInfo) -> Affects | None:
    """Return the classification of a field, or None if it has none, which a test refuses."""
    return next((each for each in field.metadata if isinstance(each, Affects)), None)
