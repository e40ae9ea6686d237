"""Objects that an API gives: a run asks for what lacks, lands it once, and reads it as any other object."""

from kpi_assets_tests.sales_api import SECRET, SalesPipeline

PUBLISHED = dict.fromkeys(("raw.north_sales", "raw.south_sales", "marts.all_sales"), "published")
BOTH = ["north", "south"]


def test_a_run_asks_lands_and_publishes_and_a_replay_asks_nothing(sales: SalesPipeline) -> None:
    day = sales.day
    assert sales.landed(day) == []
    assert sales.run(day) == PUBLISHED
    assert sales.api.of("north") == [(str(day), "1"), (str(day), "2")], "three sales are two pages"
    pages = [
        b'{"data": [{"sale_id": 1, "amount": "0.50"}, {"sale_id": 2, "amount": "1.50"}], "total": 3}',
        b'{"data": [{"sale_id": 3, "amount": "2.50"}], "total": 3}',
    ]
    assert sales.body("north", day) == b"".join(pages), "the answers as they came, one after another"
    assert sales.rows(
        f"select shop, count(*) from marts.all_sales where load_date = '{day}' group by 1 order by 1"
    ) == [
        ("north", 3),
        ("south", 3),
    ]
    sales.api.asked.clear()
    sales.api.sales = 9
    assert sales.run(day) == PUBLISHED
    assert sales.api.asked == []
    assert sales.rows(f"select count(*) from marts.all_sales where load_date = '{day}'") == [(6,)]


def test_one_shop_down_holds_back_what_reads_it_and_the_next_run_asks_only_it(sales: SalesPipeline) -> None:
    day = sales.day
    sales.api.down = {"south"}
    found = sales.run(day)
    assert found == {**PUBLISHED, "raw.south_sales": found["raw.south_sales"], "marts.all_sales": "not built"}
    assert "south" in found["raw.south_sales"]
    assert sales.landed(day) == ["north"]
    [(status, error)] = sales.rows(
        f"select status, error_message from ops.pipeline_runs where job = 's3.south_sales' and load_date = '{day}'"
    )
    assert (status, error) == ("failed", found["raw.south_sales"])
    assert SECRET not in str(sales.rows("select * from ops.pipeline_runs"))
    sales.api.down = set()
    sales.api.asked.clear()
    assert sales.run(day) == PUBLISHED
    assert sales.api.of("north") == []
    assert sales.landed(day) == BOTH
