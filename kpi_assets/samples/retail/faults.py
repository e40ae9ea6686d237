"""The faults that can be planted into a retailer's day of otherwise correct sales.

Belongs here: their names, and what they do to a record. `null-customer` hits a record of each retailer in the middle of
its day, `null-customer=30` thirty of each, and `retailer_2_null-customer` a record of that retailer alone; several
faults hit different records. Not here: what an API does wrong (simulators/faults.py), and numpy, because the command
line lists the faults.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from kpi_assets.errors import UsageError, UserError
from kpi_assets.samples.csv_file import Edit, edit_records
from kpi_assets.samples.named_faults import counted
from kpi_assets.simulators.api import RETAILERS, SimulatedApi

NULL = "\\N"
FUTURE = timedelta(days=30)
HUGE = 100_000  # pieces
CENT = Decimal("0.01")
FEW = 3  # of so many sales, one is left
Record = dict[str, str]  # what all retailers tell, by the names of SHARED, and the retailer's further fields
Change = Callable[[Record], list[Record]]  # a record -> the records that replace it

# What each retailer calls what all of them tell.
SHARED: Mapping[str, tuple[str, str, str]] = {
    "sale": ("order_id", "transaction_number", "sale_id"),
    "date": ("order_date", "date", "timestamp"),
    "customer": ("customer_id", "member_id", "buyer_id"),
    "store": ("store_id", "location_id", "outlet_id"),
    "product": ("sku", "item_code", "product_code"),
    "name": ("product_name", "item_name", "name"),
    "category": ("category", "department", "type"),
    "quantity": ("quantity", "qty", "count"),
    "price": ("price", "unit_cost", "price_per_unit"),
    "total": ("total", "amount", "revenue"),
}
# A product that no retailer lists, in the form of each.
UNLISTED = {"retailer_1": "SKU-99999", "retailer_2": "799999", "retailer_3": "P99999.3"}
RETAILER_NAMES = tuple(api.name for api in RETAILERS)


def put(**values: str) -> Change:
    """The change that puts texts into fields."""
    return lambda record: [record | values]


def twice(record: Record) -> list[Record]:
    """A record and its duplicate."""
    return [record, record]


def with_quantity(record: Record, quantity: int) -> Record:
    """A record of so many pieces, whose total is as it should be."""
    total = quantity * Decimal(record["price"]) * (100 - int(record.get("discount_percentage", "0"))) / 100
    return record | {"quantity": str(quantity), "total": str(total.quantize(CENT, ROUND_HALF_UP))}


def of_pieces(pieces: Callable[[int], int]) -> Change:
    """The change that gives a record another quantity, with the total for it."""
    return lambda record: [with_quantity(record, pieces(int(record["quantity"])))]


def conflicting(record: Record) -> list[Record]:
    """A product of a sale, and the same product of the sale with a piece more."""
    return [record, with_quantity(record, int(record["quantity"]) + 1)]


def later(days: timedelta) -> Change:
    """The change that dates a record otherwise; it is still found on its day."""

    def change(record: Record) -> list[Record]:
        text = record["date"]
        return [record | {"date": f"{date.fromisoformat(text[:10]) + days}{text[10:]}"}]

    return change


def add(amount: str) -> Change:
    """The change that adds to the total an amount, or what stands in the field of that name."""
    return lambda record: [record | {"total": str(Decimal(record["total"]) + Decimal(record.get(amount, amount)))}]


def negative(*fields: str) -> Change:
    """The change that puts a minus in front of amounts."""
    return lambda record: [record | {field: f"-{record[field]}" for field in fields}]


def before_discount(record: Record) -> list[Record]:
    """A record whose total is quantity times price, whatever its discount."""
    return [record | {"total": str(int(record["quantity"]) * Decimal(record["price"]))}]


def with_name(form: str) -> Change:
    """The change that puts something around a product's name."""
    return lambda record: [record | {"name": form.format(record["name"])}]


@dataclass(frozen=True)
class Fault:
    """A fault: what it does, and the change of a record if it has one.

    `hits` says what it hits: `some` records, `all` of them, or the day, which has `few` sales or `none`. `only` names
    the retailer that can have it, if not all can.
    """

    what: str
    change: Change | None = None
    hits: Literal["some", "all", "few", "none"] = "some"
    only: str | None = None


ROW_FAULTS: dict[str, Fault] = {
    "null-sale": Fault("a record has null as the id of its sale", put(sale=NULL)),
    "null-customer": Fault("a record has null as its customer", put(customer=NULL)),
    "null-store": Fault("a record has null as its store", put(store=NULL)),
    "null-product": Fault("a record has null as its product", put(product=NULL)),
    "null-name": Fault("a record has null as the name of its product", put(name=NULL)),
    "null-category": Fault("a record has null as its category", put(category=NULL)),
    "null-quantity": Fault("a record has null as its quantity", put(quantity=NULL)),
    "null-price": Fault("a record has null as its price", put(price=NULL)),
    "null-total": Fault("a record has null as its total", put(total=NULL)),
    "null-date": Fault("a record has null as its date", put(date=NULL)),
    "empty-name": Fault("a record has an empty text as the name of its product", put(name="")),
    "blanks-around-name": Fault("blanks stand around the name of a product", with_name("  {} ")),
    "unlisted-product": Fault("a record has a product that was never sold before", put(product="")),
    "duplicate-line": Fault("a product stands twice in one sale, letter by letter", twice),
    "conflicting-line": Fault("a product stands twice in one sale, then with a piece more", conflicting),
    "other-day": Fault("a record is dated a day before the day that is asked for", later(timedelta(days=-1))),
    "future-day": Fault("a record is dated 30 days after the day that is asked for", later(FUTURE)),
    "wrong-total": Fault("a record has a total that is 10.00 too high", add("10.00")),
    "negative-quantity": Fault("a record has a quantity and a total below 0", of_pieces(lambda pieces: -pieces)),
    "zero-quantity": Fault("a record has the quantity 0 and the total 0.00", of_pieces(lambda _: 0)),
    "huge-quantity": Fault(f"a record has {HUGE:,} pieces, and the total for them", of_pieces(lambda _: HUGE)),
    "negative-price": Fault("a record has a price and a total below 0", negative("price", "total")),
    "zero-price": Fault("a record has the price 0.00 and the total 0.00", put(price="0.00", total="0.00")),
    "discount-above-100": Fault("a record has a discount of 120 per cent", put(discount_percentage="120"),
                                only="retailer_1"),
    "before-discount": Fault("all totals are those before the discount", before_discount, "all", "retailer_1"),
    "with-tax": Fault("all amounts include the tax", add("tax_amount"), "all", "retailer_2"),
    "with-shipping": Fault("all revenues include the shipping", add("shipping_cost"), "all", "retailer_3"),
    "few-sales": Fault("the day has a third of its sales", hits="few"),
    "no-sales": Fault("the day has no sales", hits="none"),
}  # fmt: skip


def listed_faults() -> dict[str, str]:
    """Each fault with a line on what it does."""
    return {
        f"{fault.only}_{name}" if fault.only else name: f"{fault.only or 'each retailer'}: {fault.what}"
        for name, fault in ROW_FAULTS.items()
    }


@dataclass(frozen=True)
class Planted:
    """The faults in one retailer's day: how many records each of them hits."""

    api: SimulatedApi
    counts: Mapping[str, int]

    def hits(self, what: str) -> bool:
        """Whether one of the faults hits what is named, such as `few`."""
        return any(ROW_FAULTS[name].hits == what for name in self.counts)

    def check_room(self, orders: int) -> None:
        """Raise UserError if there are more records to be hit than a day of so many orders is sure to have."""
        hit = sum(count for name, count in self.counts.items() if ROW_FAULTS[name].hits == "some")
        room = orders // FEW if self.hits("few") else orders
        if hit > room:
            raise UserError(
                f"{self.api.name} has {room} orders for the {hit} faults asked of them: ask for more orders."
            )

    def edited(self, blocks: Iterable[bytes], lines: int) -> Iterator[bytes]:
        """Yield the blocks of so many lines with the faults in them.

        Faults of single records hit one after another from the middle on. A record that is so already, such as a sale
        without a customer, is passed over. UserError if the day ends before all are planted.
        """
        of_all = [self._change(name) for name in self.counts if ROW_FAULTS[name].hits == "all"]
        waiting = [
            self._change(name)
            for name, count in self.counts.items()
            if ROW_FAULTS[name].hits == "some"
            for _ in range(count)
        ]
        first, seen = max(0, min(lines // 2, lines - 2 * len(waiting))), 0
        for block in blocks:
            edits: dict[int, Edit] = {}
            for number, line in enumerate(block.splitlines() if of_all or waiting else ()):
                changes = list(of_all)
                if waiting and seen + number >= first and self._edit(waiting[:1])(line) != [line]:
                    changes.append(waiting.pop(0))
                if changes:
                    edits[number] = self._edit(changes)
            yield edit_records(block, edits) if edits else block
            seen += block.count(b"\n")
        if waiting:
            raise UserError(
                f"{self.api.name} has too few records for the faults asked of them, {len(waiting)} are left: ask for "
                "more orders."
            )

    def _change(self, name: str) -> Change:
        unlisted = put(product=UNLISTED[self.api.name])
        return unlisted if name == "unlisted-product" else _required(ROW_FAULTS[name].change)

    def _edit(self, changes: Sequence[Change]) -> Edit:
        names = {each[RETAILERS.index(self.api)]: shared for shared, each in SHARED.items()}
        columns = [names.get(field, field) for field in self.api.fields]

        def edited(line: bytes) -> list[bytes]:
            day, *values = line.decode().split("\t")
            found = [dict(zip(columns, values, strict=True))]
            for change in changes:
                found = [after for before in found for after in change(before)]
            return ["\t".join([day, *record.values()]).encode() for record in found]

        return edited


def _required(change: Change | None) -> Change:
    assert change is not None
    return change


def planted(names: Sequence[str]) -> list[Planted]:
    """The faults of these names in the day of each retailer, with the number of records behind `=`, 1 without.

    UsageError for one that is unknown, and for two that cannot both be planted.
    """
    known = [name for name, fault in ROW_FAULTS.items() if fault.only is None]
    for retailer in RETAILER_NAMES:
        known += [f"{retailer}_{name}" for name, fault in ROW_FAULTS.items() if fault.only in {None, retailer}]
    unknown = next((name for name in names if name.partition("=")[0] not in known), None)
    if unknown is not None:
        raise UsageError(f"Retail has no fault {unknown!r}: `kpi sample retail --fault list` lists them.")
    counts = counted("Retail", names, known, lambda name: ROW_FAULTS[_without_retailer(name)].hits == "some")
    found = []
    for api in RETAILERS:
        of_api = {
            _without_retailer(name): count
            for name, count in counts.items()
            if name.startswith(f"{api.name}_") or name in ROW_FAULTS
        }
        if "no-sales" in of_api and len(of_api) > 1:
            other = next(name for name in of_api if name != "no-sales")
            raise UsageError(f"The fault no-sales leaves no records for {other} to be planted in: choose one of them.")
        found.append(Planted(api, of_api))
    return found


def _without_retailer(name: str) -> str:
    for retailer in RETAILER_NAMES:
        name = name.removeprefix(f"{retailer}_")
    return name
