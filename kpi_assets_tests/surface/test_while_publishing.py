"""Readers in threads while a load_date is replaced: each answer is that of one publish, and never an old one.

`make test` has 16 readers, `make nightly` 100.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.settings import settings
from kpi_assets_tests.examples import ALL
from kpi_assets_tests.read.kpi_shop import KpiShop
from kpi_assets_tests.surface.server import Client, serving

LABELS = b"thing_id,label\n1,heavy\n2,light\n"
TIMES = 6
READERS = 100 if ALL else 16


@pytest.fixture
def shop(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KpiShop]:
    with KpiShop.open(stack, tmp_path_factory.mktemp("shop")) as opened:
        assert isinstance(opened, KpiShop)
        opened.stock().prepared()
        yield opened


def publish(shop: KpiShop, weight: int) -> None:
    shop.land(shop.day, b"thing_id,name,weight\n1,anvil,%d.50\n2,feather,0.10\n" % weight, LABELS)
    assert set(shop.run(shop.day).values()) == {"published"}


def latest(shop: KpiShop) -> int:
    [(found,)] = shop.rows("select publish_id from ops.published where asset = 'marts.heavy'")
    return int(found)


@pytest.mark.nightly
def test_no_answer_mixes_two_publishes_or_is_older_than_its_request(shop: KpiShop) -> None:
    publish(shop, 0)
    weights = {latest(shop): "0.50"}
    newest = [latest(shop)]
    seen: list[tuple[int, int, bytes, str]] = []
    over = Event()

    def read(client: Client, reader: int) -> None:
        address = f"/api/v1/kpis/{shop.name}/heavy/rows?load_date={shop.day}&limit={100 + reader % 4}"
        tag = ""
        while not over.is_set():
            expected = newest[-1]  # published before the request is sent
            found = client.get(address, If_None_Match=tag)
            if found.status == 304:
                continue
            assert found.status == 200, found.data
            tag = found.headers["ETag"]
            seen.append((expected, int(found.headers["X-Publish-Id"]), found.data, tag))

    with serving(settings(), {shop.name: shop.pipeline()}) as client, ThreadPoolExecutor(READERS) as readers:
        reading = [readers.submit(read, client, number) for number in range(READERS)]
        try:
            for weight in range(1, TIMES + 1):
                publish(shop, weight)
                weights[latest(shop)] = f"{weight}.50"
                newest.append(latest(shop))
        finally:
            over.set()
        for each in reading:
            each.result()

    for expected, publish_id, data, _ in seen:
        rows = {row["label"]: row["weight"] for row in json.loads(data, parse_float=str)["rows"]}
        assert rows == {"heavy": weights[publish_id], "light": "0.10"}
        assert json.loads(data)["trust"]["publish_id"] == publish_id
        assert publish_id >= expected
    assert {publish_id for _, publish_id, _, _ in seen} >= {min(weights)}
    assert len({publish_id for _, publish_id, _, _ in seen}) > 3
    assert len({(tag, data) for _, _, data, tag in seen}) == len({tag for _, _, _, tag in seen}), "one ETag, one answer"
