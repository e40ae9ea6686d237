"""What a field of a header affects: the rows of the table, how they are judged, how its object is verified, or nothing.

Belongs here: the classification, which stands beside each field as `Annotated[type, Affects.ROWS]`. Not here: the
versions that are derived from it (versions.py).
"""

from enum import Flag, auto

from pydantic.fields import FieldInfo


class Affects(Flag):
    """What must be done again when the field's value changes; a field may affect several of them."""

    NOTHING = 0  # it describes, or it changes how rows are stored, read or shown
    ROWS = auto()  # the same input gives another table: part of code_version
    CHECKS = auto()  # the same rows may be judged otherwise: part of checks_version
    OBJECT = auto()  # the same object may be judged otherwise: part of object_version


def affected_by(field: FieldInfo) -> Affects | None:
    """How a field is classified; None where nobody said it, which a test refuses."""
    return next((each for each in field.metadata if isinstance(each, Affects)), None)
