"""Each fault, compared with files without faults: it changes its record and nothing else."""

import re
from pathlib import Path

import pytest

from kpi_assets.errors import UserError
from kpi_assets.samples import GENERATORS
from kpi_assets_tests.samples.reading import FILES, LINES, ORDERS, PRODUCTS, Sample, reorders, write

FAULTS = GENERATORS["instacart"].faults
UNKNOWN = "2000000000"


def difference(before: list[bytes], after: list[bytes]) -> tuple[int, list[bytes], list[bytes]]:
    """Return the index of the first difference between two lists of records, and the records that differ in each."""
    start = 0
    while before[start : start + 1] == after[start : start + 1] != []:
        start += 1
    stop = 0
    while stop < min(len(before), len(after)) - start and before[-1 - stop] == after[-1 - stop]:
        stop += 1
    return start, before[start : len(before) - stop], after[start : len(after) - stop]


def planted(sample: Sample, out: Path, fault: str, file: str) -> tuple[int, list[bytes], list[bytes]]:
    """Write a sample with a fault, assert that only `file` changed, and return its difference."""
    faulty = write(out, faults=[fault])
    assert {path.name for path in out.iterdir()} == FILES
    assert {other for other in FILES if faulty.content(other) != sample.content(other)} == {file}
    before, after = sample.records(file), faulty.records(file)
    assert faulty.rows == sample.rows | {file: len(after) - 1}
    assert faulty.content(file).endswith(b"\n")
    return difference(before, after)


def middle(place: int, sample: Sample, file: str) -> bool:
    return 0.45 < place / sample.rows[file] < 0.55


def test_every_fault_is_described_with_its_file() -> None:
    assert set(FAULTS) == {
        *("duplicate_line", "orphan_product", "orphan_order", "reordered_7", "dow_9", "duplicate_order"),
        *("bad_number", "short_row", "bad_utf8", "swapped_header", "missing_column", "byte_order_mark"),
        *("header_only", "empty_object", "missing_object", "prior_order_without_lines", "backslash_dot"),
    }
    assert {text.split(": ")[0] for text in FAULTS.values()} == {ORDERS, LINES, PRODUCTS}
    assert not any("\n" in text for text in FAULTS.values())


# --- order lines


def test_duplicate_line(sample: Sample, out: Path) -> None:
    place, old, new = planted(sample, out, "duplicate_line", LINES)
    assert old == []
    assert new == [sample.records(LINES)[place - 1]]
    assert middle(place, sample, LINES)


def test_orphan_product(sample: Sample, out: Path) -> None:
    place, old, new = planted(sample, out, "orphan_product", LINES)
    order, _, cart, _ = sample.records(LINES)[place - 1].decode().split(",")
    assert old == []
    assert new == [f"{order},{UNKNOWN},{int(cart) + 1},0".encode()]
    assert sample.records(LINES)[place].decode().split(",")[0] != order
    assert middle(place, sample, LINES)


def test_orphan_order(sample: Sample, out: Path) -> None:
    place, old, new = planted(sample, out, "orphan_order", LINES)
    product = sample.records(LINES)[place - 1].decode().split(",")[1]
    assert old == []
    assert new == [f"{UNKNOWN},{product},1,0".encode()]
    assert middle(place, sample, LINES)


def test_reordered_7(sample: Sample, out: Path) -> None:
    place, old, new = planted(sample, out, "reordered_7", LINES)
    assert len(old) == 1
    assert new == [re.sub(rb",[01]$", b",7", old[0])]
    assert middle(place, sample, LINES)


def test_short_row(sample: Sample, out: Path) -> None:
    place, old, new = planted(sample, out, "short_row", LINES)
    assert len(old) == 1
    assert new == [re.sub(rb",[01]$", b"", old[0])]
    assert middle(place, sample, LINES)


def test_backslash_dot(sample: Sample, out: Path) -> None:
    place, old, new = planted(sample, out, "backslash_dot", LINES)
    assert old == []
    assert new == [b"\\."]
    assert middle(place, sample, LINES)


@pytest.mark.parametrize("orders", [1, 2, 1000])
def test_prior_order_without_lines(tmp_path: Path, orders: int) -> None:
    sample = write(tmp_path / "faultless", orders=orders)
    faulty = write(tmp_path / "faulty", orders=orders, faults=["prior_order_without_lines"])
    assert {file for file in FILES if faulty.content(file) != sample.content(file)} == {LINES}
    _, old, new = difference(sample.records(LINES), faulty.records(LINES))
    lost = {record.split(b",")[0].decode() for record in old}
    assert new == []
    assert len(lost) == 1
    assert lost.isdisjoint(row["order_id"] for row in faulty.read(LINES))
    assert faulty.rows == sample.rows | {LINES: sample.rows[LINES] - len(old)}
    prior = [row for row in sample.read(ORDERS) if row["eval_set"] == "prior"]
    (order,) = (row for row in prior if row["order_id"] in lost)
    assert order == [row for row in prior if row["user_id"] == order["user_id"]][-1]
    # `reordered` is still correct without the lost lines.
    assert [row["reordered"] for row in faulty.read(LINES)] == reorders(faulty)


# --- orders


@pytest.mark.parametrize(("fault", "value"), [("dow_9", b"9"), ("bad_number", b"monday")])
def test_a_wrong_order_dow(sample: Sample, out: Path, fault: str, value: bytes) -> None:
    place, old, new = planted(sample, out, fault, ORDERS)
    fields = old[0].split(b",")
    assert len(old) == 1
    assert new == [b",".join([*fields[:4], value, *fields[5:]])]
    assert middle(place, sample, ORDERS)


def test_duplicate_order(sample: Sample, out: Path) -> None:
    place, old, new = planted(sample, out, "duplicate_order", ORDERS)
    assert old == []
    assert new == [sample.records(ORDERS)[place - 1]]
    assert middle(place, sample, ORDERS)


def test_swapped_header(sample: Sample, out: Path) -> None:
    place, _, new = planted(sample, out, "swapped_header", ORDERS)
    assert place == 0
    assert new == [b"order_id,user_id,eval_set,order_number,order_hour_of_day,order_dow,days_since_prior_order"]


def test_byte_order_mark(sample: Sample, out: Path) -> None:
    planted(sample, out, "byte_order_mark", ORDERS)
    assert (out / ORDERS).read_bytes() == b"\xff\xfe" + sample.content(ORDERS)


def test_header_only(sample: Sample, out: Path) -> None:
    planted(sample, out, "header_only", ORDERS)
    assert (out / ORDERS).read_bytes() == sample.records(ORDERS)[0] + b"\n"


def test_empty_object(sample: Sample, out: Path) -> None:
    faulty = write(out, faults=["empty_object"])
    assert {file for file in FILES if faulty.content(file) != sample.content(file)} == {ORDERS}
    assert faulty.content(ORDERS) == b""
    assert faulty.rows == sample.rows | {ORDERS: 0}


def test_missing_object_is_not_left_over_from_an_earlier_run(sample: Sample, out: Path) -> None:
    write(out)
    faulty = write(out, faults=["missing_object"])
    assert {path.name for path in out.iterdir()} == FILES - {ORDERS}
    assert [file for file in FILES - {ORDERS} if faulty.content(file) != sample.content(file)] == []
    assert faulty.rows == {file: rows for file, rows in sample.rows.items() if file != ORDERS}


# --- products


def test_bad_utf8(sample: Sample, out: Path) -> None:
    place, old, new = planted(sample, out, "bad_utf8", PRODUCTS)
    assert len(old) == len(new) == 1
    assert new[0].replace(b"\xff", b"") == old[0]
    assert re.match(rb'\d+,"?\xff', new[0])
    assert middle(place, sample, PRODUCTS)


def test_missing_column(sample: Sample, out: Path) -> None:
    faulty = write(out, faults=["missing_column"])
    assert {file for file in FILES if faulty.content(file) != sample.content(file)} == {PRODUCTS}
    assert faulty.rows == sample.rows
    full = [{k: v for k, v in row.items() if k != "department_id"} for row in sample.read(PRODUCTS)]
    assert faulty.read(PRODUCTS) == full


# --- several


def test_several_faults_hit_different_records(sample: Sample, out: Path) -> None:
    faults = sorted(FAULTS.keys() - {"header_only", "empty_object", "missing_object"})
    faulty = write(out, faults=faults)
    lines, orders = faulty.records(LINES), faulty.records(ORDERS)
    unchanged = set(sample.records(LINES))
    added = [line for line in lines if line not in unchanged]
    assert sorted(line[-2:] for line in added if line.startswith(UNKNOWN.encode())) == [b",0"]
    assert sum(f",{UNKNOWN},".encode() in line for line in added) == 1
    assert sum(line.endswith(b",7") for line in added) == 1
    assert sum(line.count(b",") == 2 for line in added) == 1
    assert added.count(b"\\.") == 1
    assert len(added) == 5
    assert len(lines) - len(set(lines)) == 1
    lost = unchanged - set(lines)
    without = {row["order_id"] for row in sample.read(ORDERS) if row["eval_set"] == "prior"} - {
        line.split(b",")[0].decode() for line in lines
    }
    assert len(without) == 1
    assert sum(line.split(b",")[0].decode() not in without for line in lost) == 2
    assert orders[0].startswith(b"\xff\xfeorder_id,")
    assert orders[0].endswith(b"order_hour_of_day,order_dow,days_since_prior_order")
    assert sorted(row.split(b",")[4] for row in set(orders[1:]) - set(sample.records(ORDERS))) == [b"9", b"monday"]
    assert len(orders) - len(set(orders)) == 1
    assert sum(b"\xff" in record for record in faulty.records(PRODUCTS)) == 1
    assert {file: len(faulty.records(file)) - 1 for file in FILES} == faulty.rows


def test_a_fault_named_twice_is_planted_once(out: Path, tmp_path: Path) -> None:
    once, twice = write(out, faults=["duplicate_line"]), write(tmp_path / "twice", faults=["duplicate_line"] * 2)
    assert once.digests() == twice.digests()


def test_an_unknown_fault_is_refused_with_the_known_ones(out: Path) -> None:
    with pytest.raises(UserError) as refused:
        write(out, faults=["dow_9", "dow_8"])
    assert str(refused.value) == f"Instacart has no fault 'dow_8': choose from {', '.join(FAULTS)}."
    assert not out.exists()


@pytest.mark.parametrize("emptied", ["header_only", "empty_object", "missing_object"])
@pytest.mark.parametrize("other", ["dow_9", "byte_order_mark"])
def test_faults_of_order_records_are_refused_with_faults_that_empty_the_file(
    out: Path, emptied: str, other: str
) -> None:
    message = f"The fault {emptied} leaves no orders.csv for {other} to be planted in: choose one of them."
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        write(out, faults=[other, "dow_9", emptied] if other == "dow_9" else [other, emptied])
    assert write(out, faults=[emptied, "duplicate_line"]).rows.get(ORDERS, 0) == 0


def test_more_faults_than_there_are_records_are_refused(out: Path) -> None:
    write(out, orders=1)
    message = f"{LINES} has room for 1 of the 2 faults asked of its records: ask for more orders."
    digests = Sample(out, {}).digests()
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        write(out, orders=1, faults=["duplicate_line", "reordered_7"])
    assert Sample(out, {}).digests() == digests


@pytest.mark.parametrize("orders", [1, 2, 7])
@pytest.mark.parametrize("fault", ["duplicate_line", "reordered_7", "duplicate_order", "dow_9", "bad_utf8"])
def test_a_fault_fits_into_the_smallest_samples(tmp_path: Path, orders: int, fault: str) -> None:
    sample = write(tmp_path / "faultless", orders=orders)
    faulty = write(tmp_path / "faulty", orders=orders, faults=[fault])
    file = FAULTS[fault].split(": ")[0]
    _, old, new = difference(sample.records(file), faulty.records(file))
    assert (len(old), len(new)) == ((0, 1) if fault.startswith("duplicate") else (1, 1))


def test_as_many_faults_as_records_fit(tmp_path: Path) -> None:
    sample = write(tmp_path / "faultless", orders=3)
    faulty = write(tmp_path / "faulty", orders=3, faults=["dow_9", "bad_number", "duplicate_order"])
    first, second, third = sample.records(ORDERS)[1:]
    dow_9 = b",".join([*first.split(b",")[:4], b"9", *first.split(b",")[5:]])
    monday = b",".join([*second.split(b",")[:4], b"monday", *second.split(b",")[5:]])
    assert faulty.records(ORDERS)[1:] == [dow_9, monday, third, third]
