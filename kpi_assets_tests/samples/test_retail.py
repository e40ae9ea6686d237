"""The sales of the three retailers: what they are like, and the faults in them."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest
from pydantic import SecretStr

from kpi_assets.errors import UsageError, UserError
from kpi_assets.samples import API_GENERATORS
from kpi_assets.samples.retail import catalog
from kpi_assets.samples.retail.faults import RETAILER_NAMES, ROW_FAULTS, SHARED, planted
from kpi_assets.samples.retail.generator import day_lines
from kpi_assets.simulators.api import RETAILERS

DAY = date(2025, 7, 1)
NOWHERE = SecretStr("postgresql://nobody@127.0.0.1:9/postgres")
Row = dict[str, str]
CENT = Decimal("0.01")


def rows(retailer: int, day: date = DAY, orders: int = 300, faults: Sequence[str] = (), seed: int = 1) -> list[Row]:
    """The records of a retailer's day: what all tell by the names of SHARED, the rest by the retailer's names."""
    api = RETAILERS[retailer]
    names = {each[retailer]: name for name, each in SHARED.items()}
    columns = [api.day, *(names.get(field, field) for field in api.fields)]
    text = b"".join(day_lines(retailer, day, orders, seed, planted(faults)[retailer]))
    return [dict(zip(columns, line.split("\t"), strict=True)) for line in text.decode().splitlines()]


def is_consistent(row: Row, retailer: int) -> bool:
    """Whether the total is quantity times the unit price, net of the discount."""
    price = Decimal(row["price"])
    if retailer == 0:
        price = price * (100 - int(row["discount_percentage"])) / 100
    return Decimal(row["total"]) == (int(row["quantity"]) * price).quantize(CENT, ROUND_HALF_UP)


@pytest.mark.parametrize("retailer", [0, 1, 2])
def test_a_day_has_so_many_sales_of_one_to_three_different_products(retailer: int) -> None:
    found = rows(retailer)
    assert len(found) == (522, 518, 523)[retailer]
    products = Counter(row["sale"] for row in found)
    assert (len(products), set(products.values())) == (300, {1, 2, 3})
    assert len({(row["sale"], row["product"]) for row in found}) == len(found)
    assert all(is_consistent(row, retailer) for row in found)
    assert {row["date"][:10] for row in found} == {row[RETAILERS[retailer].day] for row in found} == {str(DAY)}
    of_sale = {(row["sale"], row["customer"], row["store"], row["date"]) for row in found}
    assert len(of_sale) == 300
    assert {int(row["quantity"]) for row in found} == {1, 2, 3, 4, 5}


def test_the_retailers_call_things_otherwise_and_know_nothing_of_each_other() -> None:
    for name in ("sale", "customer", "store", "product", "category"):
        values = [{row[name] for row in rows(retailer)} for retailer in (0, 1, 2)]
        assert values[0] & values[1] == values[1] & values[2] == values[0] & values[2] == set(), name
    assert [len({row["category"] for row in rows(retailer, orders=2000)}) for retailer in (0, 1, 2)] == [8, 8, 8]
    without = [sum(row["customer"] == "\\N" for row in rows(retailer, orders=2000)) for retailer in (0, 1, 2)]
    assert (without[0], without[2]) == (0, 0)
    assert 100 < without[1] < 250  # one in twenty of some 3,500


@pytest.mark.parametrize("retailer", [0, 1, 2])
def test_the_same_arguments_give_the_same_rows_and_others_give_others(retailer: int) -> None:
    first = rows(retailer)
    assert rows(retailer) == first
    assert rows(retailer, seed=2) != first
    assert rows(retailer, DAY + timedelta(days=1)) != first
    assert rows(retailer, orders=301) != first


def test_products_change_over_time() -> None:
    for retailer in (0, 1, 2):
        early, late = (catalog.listed(retailer, day, 1) for day in (DAY, DAY + timedelta(weeks=26)))
        assert (len(early), len(late)) == (150, 176)
        pairs = list(zip(early, late, strict=False))
        assert all(one.category == other.category for one, other in pairs)
        assert 100 < sum(one.cents != other.cents for one, other in pairs) < 150
        assert 10 < sum(one.name != other.name for one, other in pairs) < 60
        assert catalog.listed(retailer, DAY + timedelta(days=5), 1) == early  # of the same week
        assert catalog.listed(retailer, date(2020, 1, 1), 1) == early


def changed(before: Row, after: Row) -> dict[str, tuple[str, str]]:
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}


@pytest.mark.parametrize("retailer", [0, 1, 2])
@pytest.mark.parametrize(
    ("fault", "fields"),
    [
        ("null-sale", {"sale": "\\N"}),
        ("null-customer", {"customer": "\\N"}),
        ("null-store", {"store": "\\N"}),
        ("null-product", {"product": "\\N"}),
        ("null-name", {"name": "\\N"}),
        ("null-category", {"category": "\\N"}),
        ("null-quantity", {"quantity": "\\N"}),
        ("null-price", {"price": "\\N"}),
        ("null-total", {"total": "\\N"}),
        ("null-date", {"date": "\\N"}),
        ("empty-name", {"name": ""}),
        ("blanks-around-name", {"name": "  {name} "}),
        ("unlisted-product", {"product": ("SKU-99999", "799999", "P99999.3")}),
        ("zero-price", {"price": "0.00", "total": "0.00"}),
        ("negative-price", {"price": "-{price}", "total": "-{total}"}),
        ("negative-quantity", {"quantity": "-{quantity}", "total": "-{total}"}),
        ("zero-quantity", {"quantity": "0", "total": "0.00"}),
    ],
)
def test_a_fault_changes_a_record_in_the_middle_of_the_day(retailer: int, fault: str, fields: Row) -> None:
    before, after = rows(retailer), rows(retailer, faults=[f"{fault}=2"])
    assert len(after) == len(before)
    hit = [number for number in range(len(before)) if before[number] != after[number]]
    middle = len(before) // 2
    # The second retailer has sales without a customer anyway: they are passed over.
    candidates = [
        number for number in range(middle - 2, len(before)) if fields != {"customer": before[number]["customer"]}
    ]
    assert hit == [number for number in candidates if number >= middle][:2]
    for number in hit:
        wanted = {name: value if isinstance(value, str) else value[retailer] for name, value in fields.items()}
        of_row = {name: text.format(**before[number]) for name, text in wanted.items()}
        assert {name: new for name, (_, new) in changed(before[number], after[number]).items()} == of_row


@pytest.mark.parametrize("retailer", [0, 1, 2])
def test_faults_of_dates_totals_and_doubles(retailer: int) -> None:
    before = rows(retailer)
    middle = len(before) // 2

    def hit(fault: str) -> tuple[Row, Row]:
        after = rows(retailer, faults=[fault])
        assert after[:middle] == before[:middle]
        assert after[middle + 1 :] == before[middle + 1 :]
        return before[middle], after[middle]

    one, other = hit("other-day")
    assert changed(one, other) == {"date": (one["date"], one["date"].replace("2025-07-01", "2025-06-30"))}
    one, other = hit("future-day")
    assert changed(one, other) == {"date": (one["date"], one["date"].replace("2025-07-01", "2025-07-31"))}
    one, other = hit("wrong-total")
    assert Decimal(other["total"]) - Decimal(one["total"]) == 10
    one, other = hit("huge-quantity")
    assert (other["quantity"], is_consistent(other, retailer)) == ("100000", True)
    doubled = rows(retailer, faults=["duplicate-line"])
    assert doubled == [*before[: middle + 1], before[middle], *before[middle + 1 :]]
    conflicting = rows(retailer, faults=["conflicting-line"])
    extra = conflicting.pop(middle + 1)
    assert conflicting == before
    assert set(changed(before[middle], extra)) == {"quantity", "total"}
    assert int(extra["quantity"]) == int(before[middle]["quantity"]) + 1


def test_faults_of_one_retailer_and_of_the_day() -> None:
    clean = [rows(retailer) for retailer in (0, 1, 2)]
    for fault, retailer in (("before-discount", 0), ("with-tax", 1), ("with-shipping", 2)):
        name = f"{RETAILER_NAMES[retailer]}_{fault}"
        found = [rows(each, faults=[name]) for each in (0, 1, 2)]
        assert [found[each] == clean[each] for each in (0, 1, 2)] == [each != retailer for each in (0, 1, 2)]
        wrong = sum(not is_consistent(row, retailer) for row in found[retailer])
        assert (150, 500, 200)[retailer] < wrong <= len(found[retailer])
    assert rows(0, faults=["retailer_1_discount-above-100"])[261]["discount_percentage"] == "120"
    only = [rows(each, faults=["retailer_2_null-customer=3"]) for each in (0, 1, 2)]
    assert [len([row for row in only[each] if row not in clean[each]]) for each in (0, 1, 2)] == [0, 3, 0]
    assert [rows(each, faults=["no-sales"]) for each in (0, 1, 2)] == [[], [], []]
    few = rows(1, faults=["retailer_2_few-sales", "null-price"])
    assert len({row["sale"] for row in few}) == 100
    assert sum(row["price"] == "\\N" for row in few) == 1


def test_every_fault_has_a_name_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = API_GENERATORS["retail"].faults
    assert len(listed) == len(ROW_FAULTS) + 99
    assert {"null-customer", "retailer_1_before-discount", "retailer_3_torn"} <= set(listed)
    assert all(line.startswith(("each retailer: ", "retailer_")) for line in listed.values())
    planted([name for name in listed if not name.startswith("retailer_") and name != "no-sales"])


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        (["nonsense"], "Retail has no fault 'nonsense': `kpi sample retail --fault list` lists them."),
        (["before-discount"], "Retail has no fault 'before-discount': `kpi sample retail --fault list` lists them."),
        (
            ["retailer_2_before-discount"],
            "Retail has no fault 'retailer_2_before-discount': `kpi sample retail --fault list` lists them.",
        ),
        (["retailer_4_down"], "Retail has no fault 'retailer_4_down': `kpi sample retail --fault list` lists them."),
        (
            ["no-sales", "retailer_1_null-name"],
            "The fault no-sales leaves no records for null-name to be planted in: choose one of them.",
        ),
        (
            ["few-sales=3"],
            "The fault 'few-sales=3' cannot be planted: give a whole number from 1 behind the name of a fault of "
            "records, such as negative-price=30.",
        ),
    ],
)
def test_a_fault_that_cannot_be_planted_is_wrong_usage(faults: list[str], sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        API_GENERATORS["retail"].fill(NOWHERE, load_date=DAY, orders=10, seed=1, faults=faults)
    assert str(refused.value) == sentence


def test_what_cannot_be_made_is_refused_before_a_database_is_touched() -> None:
    def refusal(days: int = 1, **words: object) -> str:
        generator = API_GENERATORS["retail"].sized(events=None, days=days)
        asked = {"load_date": DAY, "orders": 10, "seed": 1, **words}
        with pytest.raises(UserError) as refused:
            generator.fill(NOWHERE, **asked)  # type: ignore[arg-type]
        return str(refused.value)

    assert refusal(orders=10**6) == "A day of 1,000,000 orders cannot be made: ask for 1 to 999,999 orders."
    assert refusal(days=367) == "367 days cannot be made at once: ask for 1 to 366 days."
    assert refusal(seed=-1) == "The seed -1 is negative: choose 0 or more."
    assert refusal(load_date=date(9999, 12, 20)) == "There are no 1 days from 9999-12-20 on: begin earlier."
    assert len(rows(1, orders=11, faults=["null-customer=11"])) >= 11
    many = "retailer_1 has 10 orders for the 11 faults asked of them: ask for more orders."
    assert refusal(faults=["null-name=11"]) == many
    with pytest.raises(UsageError, match="The samples of retail have no --events: leave it out"):
        API_GENERATORS["retail"].sized(events=5, days=None)
