"""The faults that can be planted into a synthetic Instacart day, each exactly one, in otherwise correct files.

Belongs here: their names, what they do to which file, and which exclude one another. A fault of a record hits one in
the middle of its file; several in one file hit different ones. Not here: numpy, because the command line lists them.
"""

from collections.abc import Callable, Sequence

from kpi_assets.errors import UsageError, UserError
from kpi_assets.samples.csv_file import Edit

ORDERS, LINES, PRODUCTS = "orders.csv", "order_products__prior.csv", "products.csv"
UNKNOWN_ID = b"2000000000"  # an integer as it should be, that no sample is large enough to use

FAULTS_OF = {
    LINES: {
        "duplicate_line": "one order line stands there twice",
        "orphan_product": f"one line more, with a product_id that is not in {PRODUCTS}",
        "orphan_order": f"one line more, with an order_id that is not in {ORDERS}",
        "reordered_7": "a line has reordered 7",
        "short_row": "a line lacks its last column, reordered",
        "backslash_dot": "one line more, that holds only \\.",
        "prior_order_without_lines": "one prior order, the last of its user, loses all its lines",
    },
    ORDERS: {
        "dow_9": "an order has order_dow 9",
        "bad_number": "an order has order_dow monday",
        "duplicate_order": "one order stands there twice",
        "swapped_header": "order_dow and order_hour_of_day change places in the header, not in the data",
        "byte_order_mark": "the file starts with the byte order mark of UTF-16, and is UTF-8",
        "header_only": "the file holds its header and nothing else",
        "empty_object": "the file holds 0 bytes",
        "missing_object": "the file is not written",
    },
    PRODUCTS: {
        "bad_utf8": "a product name holds a byte that is not UTF-8",
        "missing_column": "header and data lack the last column, department_id",
    },
}
FAULTS = {name: f"{file}: {what}" for file, faults in FAULTS_OF.items() for name, what in faults.items()}
WITHOUT_ORDERS = {"header_only", "empty_object", "missing_object"}  # into these no other can be planted


def with_field(number: int, value: bytes) -> Edit:
    """The edit that puts `value` into the field of that number, of a record without quotes."""

    def edit(record: bytes) -> list[bytes]:
        fields = record.split(b",")
        fields[number] = value
        return [b",".join(fields)]

    return edit


def twice(record: bytes) -> list[bytes]:
    """A record and its duplicate."""
    return [record, record]


def with_unknown_product(record: bytes) -> list[bytes]:
    """The last line of an order, and behind it one more of the same order."""
    order, _, cart, _ = record.split(b",")
    return [record, b"%s,%s,%d,0" % (order, UNKNOWN_ID, int(cart) + 1)]


def with_unknown_order(record: bytes) -> list[bytes]:
    """A line, and behind it one of an order that does not exist."""
    _, product, _, _ = record.split(b",")
    return [record, b"%s,%s,1,0" % (UNKNOWN_ID, product)]


def with_broken_name(record: bytes) -> list[bytes]:
    """A product whose name begins with a byte that no UTF-8 text may hold."""
    number, name = record.split(b",", 1)
    quote = b'"' if name.startswith(b'"') else b""
    return [number + b"," + quote + b"\xff" + name.removeprefix(quote)]


def without_last_field(record: bytes) -> bytes:
    """A record shortened by its last field, which is not quoted."""
    return record.rpartition(b",")[0]


# Of each file, the faults of single records; those of order lines are given the last line of an order.
RECORDS: dict[str, dict[str, Edit]] = {
    LINES: {
        "duplicate_line": twice,
        "orphan_product": with_unknown_product,
        "orphan_order": with_unknown_order,
        "reordered_7": with_field(3, b"7"),
        "short_row": lambda record: [without_last_field(record)],
        "backslash_dot": lambda record: [record, b"\\."],
    },
    ORDERS: {"dow_9": with_field(4, b"9"), "bad_number": with_field(4, b"monday"), "duplicate_order": twice},
    PRODUCTS: {"bad_utf8": with_broken_name},
}

# Of each file, the faults of its header.
HEADERS: dict[str, dict[str, Callable[[bytes], bytes]]] = {
    ORDERS: {
        "swapped_header": lambda header: header.replace(b"order_dow,order_hour_of_day", b"order_hour_of_day,order_dow"),
        "byte_order_mark": lambda header: b"\xff\xfe" + header,
        "empty_object": lambda _: b"",
    },
    PRODUCTS: {"missing_column": lambda header: without_last_field(header) + b"\n"},
}


def chosen(names: Sequence[str]) -> frozenset[str]:
    """The faults of these names; UsageError for one that is unknown, or for two that cannot both be planted."""
    for name in names:
        if name not in FAULTS:
            raise UsageError(f"Instacart has no fault {name!r}: choose from {', '.join(FAULTS)}.")
    of_orders = sorted(FAULTS_OF[ORDERS].keys() & set(names), key=lambda name: name not in WITHOUT_ORDERS)
    if len(of_orders) > 1 and of_orders[0] in WITHOUT_ORDERS:
        raise UsageError(
            f"The fault {of_orders[0]} leaves no {ORDERS} for {of_orders[1]} to be planted in: choose one of them."
        )
    return frozenset(names)


def header(file: str, columns: str, faults: frozenset[str]) -> bytes:
    """The header line of a file, with the faults that hit it."""
    line = columns.encode() + b"\n"
    for name, change in HEADERS.get(file, {}).items():
        if name in faults:
            line = change(line)
    return line


def edits(file: str, room: int, faults: frozenset[str]) -> dict[int, Edit]:
    """Which of the `room` records of a file that are fit for a fault are edited, and how.

    The first fault takes the middle one, and the others those behind it. UserError when there are too few.
    """
    planted = [edit for name, edit in RECORDS.get(file, {}).items() if name in faults]
    if len(planted) > room:
        raise UserError(
            f"{file} has room for {room} of the {len(planted)} faults asked of its records: ask for more orders."
        )
    return dict(enumerate(planted, start=min(room // 2, room - len(planted))))
