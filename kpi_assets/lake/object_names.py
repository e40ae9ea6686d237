"""Names of objects that an engine reads as something else than one object."""

_GLOB = set("*?[]{}\\")


def problem(key: str) -> str:
    """Return why an engine cannot read the object of a key; empty if it can.

    >>> problem("orders/2025-03-01/_orders.csv")
    "an engine passes over objects whose name begins with '_': land it under another name"
    """
    name = key.rpartition("/")[2]
    if name.startswith(("_", ".")):
        return f"an engine passes over objects whose name begins with {name[0]!r}: land it under another name"
    if found := sorted(_GLOB & set(key)):
        return f"an engine reads {found[0]!r} in a key as a pattern of several keys: land it under another name"
    return ""
