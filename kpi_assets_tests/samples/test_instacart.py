"""Files without faults: counts, formats, references, sequences, distributions, and how they are written."""

import re
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import date
from itertools import pairwise
from pathlib import Path
from statistics import mean

import duckdb
import pytest

from kpi_assets.errors import UserError
from kpi_assets.samples.draws import Draws
from kpi_assets.samples.instacart.baskets import draw_baskets, product_tables
from kpi_assets.samples.instacart.catalog import product_count, products
from kpi_assets.samples.instacart.orders import FULL_ORDERS, FULL_USERS, PRIOR, TEST, TRAIN, draw_orders
from kpi_assets_tests.samples.reading import FILES, LINES, ORDERS, PRODUCTS, Sample, reorders, write

HEADERS = {
    ORDERS: "order_id,user_id,eval_set,order_number,order_dow,order_hour_of_day,days_since_prior_order",
    LINES: "order_id,product_id,add_to_cart_order,reordered",
    PRODUCTS: "product_id,product_name,aisle_id,department_id",
    "aisles.csv": "aisle_id,aisle",
    "departments.csv": "department_id,department",
}
FORMATS = {
    ORDERS: r"[1-9]\d*,[1-9]\d*,(prior|train|test),[1-9]\d*,[0-6],([01]\d|2[0-3]),(([12]?\d|30)\.0)?",
    LINES: r"[1-9]\d*,[1-9]\d*,[1-9]\d*,[01]",
    PRODUCTS: r'[1-9]\d*,([^",]+|"([^"]|"")*"),[1-9]\d*,[1-9]\d*',
    "aisles.csv": r"[1-9]\d*,[a-z ]+",
    "departments.csv": r"[1-9]\d*,[a-z ]+",
}


# --- counts and formats


@pytest.mark.parametrize(
    ("orders", "users", "prior", "train", "test"),
    [
        (1, 1, 1, 0, 0),
        (2, 1, 1, 1, 0),
        (3, 1, 2, 1, 0),
        (7, 1, 6, 1, 0),
        (24, 1, 23, 1, 0),
        (25, 2, 23, 1, 1),
        (1000, 60, 940, 38, 22),
        (20_000, 1206, 18_794, 767, 439),
    ],
)
def test_a_sample_has_exactly_the_requested_orders(
    out: Path, orders: int, users: int, prior: int, train: int, test: int
) -> None:
    sample = write(out, orders=orders)
    assert {path.name for path in out.iterdir()} == FILES
    assert {file: len(sample.read(file)) for file in FILES} == sample.rows
    assert sample.rows | {LINES: 0} == {
        ORDERS: orders,
        LINES: 0,
        PRODUCTS: product_count(orders),
        "aisles.csv": 134,
        "departments.csv": 21,
    }
    rows = sample.read(ORDERS)
    eval_sets = Counter(row["eval_set"] for row in rows)
    assert (eval_sets["prior"], eval_sets["train"], eval_sets["test"]) == (prior, train, test)
    assert {row["user_id"] for row in rows} == {str(user) for user in range(1, users + 1)}
    assert sample.rows[LINES] >= prior


def test_a_full_sample_has_the_sizes_of_the_published_dataset() -> None:
    orders = draw_orders(FULL_ORDERS, Draws(1))
    assert (len(orders), orders.users, int(orders.user_id[-1])) == (3_421_083, FULL_USERS, FULL_USERS)
    assert [int((orders.eval_set == which).sum()) for which in (PRIOR, TRAIN, TEST)] == [3_214_874, 131_209, 75_000]
    assert product_count(FULL_ORDERS) == product_count(2 * FULL_ORDERS) == 49_688
    assert product_count(1) == 400


@pytest.mark.parametrize("file", sorted(FILES))
def test_every_record_has_the_format_of_its_file(sample: Sample, file: str) -> None:
    text = sample.content(file).decode("utf-8")
    assert text.endswith("\n")
    assert "\r" not in text
    assert "\0" not in text
    header, *records = text.removesuffix("\n").split("\n")
    assert header == HEADERS[file]
    assert len(records) == sample.rows[file]
    assert [record for record in records if not re.fullmatch(FORMATS[file], record)] == []


@pytest.mark.parametrize("file", sorted(FILES))
def test_duckdb_reads_the_same_values(sample: Sample, file: str) -> None:
    read = duckdb.execute(
        "select * from read_csv(?, header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"', "
        "nullstr = '\\N', auto_detect = false, columns = ?)",
        [str(sample.folder / file), dict.fromkeys(HEADERS[file].split(","), "VARCHAR")],
    ).fetchall()
    # DuckDB reads an empty field as NULL, whatever its option for NULL is.
    assert [tuple(value or "" for value in row) for row in read] == [tuple(row.values()) for row in sample.read(file)]


# --- products


def test_names_are_as_awkward_as_real_ones_and_quoted_only_where_needed(sample: Sample) -> None:
    names = [row["product_name"] for row in sample.read(PRODUCTS)]
    assert len(set(names)) == len(names) == 849
    assert sum("," in name for name in names) == 55
    assert sum('\\"' in name for name in names) == 4
    assert sum(bool(re.search(r'(?<!\\)"', name)) for name in names) == 2
    assert sum(not name.isascii() for name in names) == 6
    quoted = {record.split(b",")[0] for record in sample.records(PRODUCTS) if b'"' in record}
    assert quoted == {
        row["product_id"].encode() for row in sample.read(PRODUCTS) if re.search('[",]', row["product_name"])
    }
    assert any(
        record.endswith(b'9\\""x13\\""",7,1') or b'9\\""x13\\"""' in record for record in sample.records(PRODUCTS)
    )


def test_names_are_unique_at_full_size() -> None:
    rows = products(49_688, Draws(7, 0))
    assert len({name for _, name, _, _ in rows}) == 49_688
    assert len({aisle for _, _, aisle, _ in rows}) == 134


def test_every_reference_has_its_record(sample: Sample) -> None:
    ids = {file: [row[HEADERS[file].split(",")[0]] for row in sample.read(file)] for file in FILES - {LINES}}
    assert all(len(set(numbers)) == len(numbers) for numbers in ids.values())
    assert {row["department_id"] for row in sample.read(PRODUCTS)} <= set(ids["departments.csv"])
    assert {row["aisle_id"] for row in sample.read(PRODUCTS)} <= set(ids["aisles.csv"])
    assert {row["product_id"] for row in sample.read(LINES)} <= set(ids[PRODUCTS])
    aisle_department = {(row["aisle_id"], row["department_id"]) for row in sample.read(PRODUCTS)}
    assert len(aisle_department) == len({aisle for aisle, _ in aisle_department})


# --- orders and lines


def test_each_user_has_a_sequence_of_orders(sample: Sample) -> None:
    rows = sample.read(ORDERS)
    place = [(int(row["user_id"]), int(row["order_number"])) for row in rows]
    assert place == sorted(place)
    ids = [int(row["order_id"]) for row in rows]
    assert sorted(ids) == list(range(1, 1001))
    assert sum(later == earlier + 1 for earlier, later in pairwise(ids)) < 10
    by_user = defaultdict(list)
    for row in rows:
        by_user[row["user_id"]].append(row)
    for history in by_user.values():
        assert 4 <= len(history) <= 100
        assert [int(row["order_number"]) for row in history] == list(range(1, len(history) + 1))
        assert {row["eval_set"] for row in history[:-1]} == {"prior"}
        assert history[-1]["eval_set"] in {"train", "test"}
        assert [row["days_since_prior_order"] == "" for row in history] == [True] + [False] * (len(history) - 1)


def test_every_prior_order_has_lines_and_no_other_order_has_any(sample: Sample) -> None:
    prior = {row["order_id"] for row in sample.read(ORDERS) if row["eval_set"] == "prior"}
    assert {row["order_id"] for row in sample.read(LINES)} == prior


def test_lines_are_sorted_by_order_and_position_in_the_cart(sample: Sample) -> None:
    lines = sample.read(LINES)
    carts = defaultdict(list)
    for row in lines:
        carts[int(row["order_id"])].append(row)
    assert list(carts) == sorted(carts)
    assert [row for cart in carts.values() for row in cart] == lines
    for cart in carts.values():
        assert [int(row["add_to_cart_order"]) for row in cart] == list(range(1, len(cart) + 1))
        assert len({row["product_id"] for row in cart}) == len(cart)


@pytest.mark.parametrize("orders", [1, 7, 1000, 6000])
def test_reordered_means_bought_in_an_earlier_prior_order(out: Path, orders: int) -> None:
    sample = write(out, orders=orders)
    flags = [row["reordered"] for row in sample.read(LINES)]
    assert flags == reorders(sample)
    assert set(flags) == ({"0"} if orders == 1 else {"0", "1"})


def test_a_large_sample_is_distributed_like_the_real_data(out: Path) -> None:
    sample = write(out, orders=20_000)
    lines, orders = sample.read(LINES), sample.read(ORDERS)
    sizes = sorted(Counter(row["order_id"] for row in lines).values())
    assert mean(sizes) == pytest.approx(10.09, abs=0.4)
    assert [sizes[len(sizes) * part // 100] for part in (25, 50, 75)] == [5, 8, 13]
    assert sizes[-1] > 60
    assert mean(int(row["reordered"]) for row in lines) == pytest.approx(0.59, abs=0.03)
    sold = [count for _, count in Counter(row["product_id"] for row in lines).most_common()]
    assert [sold[0] // sold[9], sold[9] // sold[99], sold[99] // sold[999]] == [2, 4, 5]
    days = Counter(row["days_since_prior_order"] for row in orders)
    assert [day for day, _ in days.most_common(3)] == ["30.0", "7.0", "6.0"]
    assert {day for day in days if day} == {f"{day}.0" for day in range(31)}
    dow = Counter(row["order_dow"] for row in orders)
    assert {day for day, _ in dow.most_common(2)} == {"0", "1"}
    hour = Counter(row["order_hour_of_day"] for row in orders)
    assert {hour for hour, _ in hour.most_common(8)} == {"10", "11", "12", "13", "14", "15", "16", "09"}
    assert set(hour) == {f"{hour:02d}" for hour in range(24)}
    per_user = Counter(row["user_id"] for row in orders).values()
    assert (min(per_user), max(per_user)) == (4, 100)


def test_baskets_fit_the_real_number_of_lines() -> None:
    orders = draw_orders(200_000, Draws(3))
    baskets = draw_baskets(orders, product_tables(12_000, Draws(4)), Draws(5), lambda _: None)
    prior = int((orders.eval_set == PRIOR).sum())
    assert len(baskets.lines) / prior == pytest.approx(32_434_489 / 3_214_874, rel=0.01)
    assert int(baskets.size[orders.eval_set == PRIOR].min()) == 1


# --- the same arguments give the same bytes


def test_the_same_arguments_give_the_same_bytes(sample: Sample, out: Path) -> None:
    assert write(out).digests() == sample.digests()


def test_bytes_are_the_same_on_every_machine_and_numpy(out: Path) -> None:
    # Recorded from the first release. Change them only with an intended change of the contents of samples.
    digests = write(out, orders=300, seed=1, load_date=date(2025, 2, 28)).digests()
    assert {file: digest[:16] for file, digest in digests.items()} == {
        "aisles.csv": "85285b85fb50d91a",
        "departments.csv": "31c91e4c99ba8453",
        "order_products__prior.csv": "b7ef481019cb5c3e",
        "orders.csv": "f9453218347781ac",
        "products.csv": "bbb9b6521d3af96d",
    }


def test_another_day_has_other_orders_of_the_same_products(sample: Sample, out: Path) -> None:
    other = write(out, load_date=date(2024, 1, 16)).digests()
    assert {file for file, digest in sample.digests().items() if other[file] != digest} == {ORDERS, LINES}


def test_bestsellers_are_the_same_on_every_day(out: Path) -> None:
    best = []
    for day in (15, 16):
        lines = write(out / str(day), orders=5000, load_date=date(2024, 1, day)).read(LINES)
        best.append({product for product, _ in Counter(row["product_id"] for row in lines).most_common(5)})
    assert len(best[0] & best[1]) >= 4


def test_another_seed_gives_other_products_and_orders(sample: Sample, out: Path) -> None:
    other = write(out, seed=8).digests()
    assert {file for file, digest in sample.digests().items() if other[file] != digest} == {ORDERS, LINES, PRODUCTS}


# --- the folder


def test_progress_grows_to_the_number_of_orders(out: Path) -> None:
    seen: list[tuple[int, int]] = []
    write(out, orders=60_000, progress=lambda done, all_orders: seen.append((done, all_orders)))
    assert seen == sorted(seen)
    assert seen[-1] == (60_000, 60_000)
    assert {all_orders for _, all_orders in seen} == {60_000}
    assert len({done for done, _ in seen}) >= 4


def test_a_rerun_replaces_the_files(out: Path) -> None:
    write(out, orders=50, seed=1)
    (out / "notes.txt").write_text("mine")
    write(out, orders=20)
    assert {path.name for path in out.iterdir()} == FILES | {"notes.txt"}
    (out / "notes.txt").unlink()
    assert Sample(out, {}).digests() == write(out.with_name("other"), orders=20).digests()


def test_an_interrupted_run_leaves_no_files(out: Path) -> None:
    def interrupt(done: int, all_orders: int) -> None:
        if done == all_orders:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(out, progress=interrupt)
    assert list(out.iterdir()) == []


KILLED = """
import os, signal, sys
from datetime import date
from pathlib import Path
from kpi_assets.samples import GENERATORS

def kill(done, all_orders):
    if done > all_orders * 3 // 4:
        os.kill(os.getpid(), signal.SIGKILL)

GENERATORS["instacart"].write(Path(sys.argv[1]), load_date=date(2024, 1, 16), orders=80_000, seed=1, progress=kill)
"""


@pytest.mark.process
@pytest.mark.parametrize("before", [False, True], ids=["empty folder", "folder with files"])
def test_a_killed_run_leaves_no_partial_file_and_the_next_run_cleans_up(
    sample: Sample, out: Path, before: bool
) -> None:
    digests = write(out).digests() if before else {}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(out)], check=False)
    assert killed.returncode == -9
    assert (out / ".partial" / LINES).stat().st_size > 0
    assert {path.name for path in out.iterdir() if path.is_file()} == set(digests)
    assert {file: Sample(out, {}).content(file) for file in digests} == {file: sample.content(file) for file in digests}
    assert write(out).digests() == sample.digests()


@pytest.mark.process
def test_looking_up_a_generator_does_not_import_numpy() -> None:
    look_up = "import sys; from kpi_assets.samples import GENERATORS as g; print(*g, len(g['instacart'].faults))"
    look_up += "; print('numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", look_up], check=True, capture_output=True, text=True)
    assert run.stdout == "instacart ecommerce storefront realtime 17\nFalse\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"orders": 0}, "A sample of 0 orders cannot be made: ask for 1 to 99,999,999 orders."),
        ({"orders": 10**8}, "A sample of 100,000,000 orders cannot be made: ask for 1 to 99,999,999 orders."),
        ({"seed": -1}, "The seed -1 is negative: choose 0 or more."),
    ],
)
def test_impossible_arguments_are_refused_in_one_sentence(out: Path, arguments: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        write(out, **arguments)
    assert not out.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=rf"^The sample cannot be written to {tmp_path}/file/out \(Not a directory\)"):
        write(tmp_path / "file" / "out")
