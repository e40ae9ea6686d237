"""Why two publishes of a load_date differ, by what the ledger has of all that they come from."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pytest
from psycopg import Connection
from psycopg.types.json import Json

from kpi_assets.model.manifest import NO_OBJECT
from kpi_assets.read.restated import Gap, find_reasons
from kpi_assets_tests.read.kpi_shop import KpiShop

DAY, BEFORE = date(2024, 3, 6), date(2024, 3, 5)


class Ledger:
    """Writes publishes of a load_date into a transaction that is rolled back."""

    def __init__(self, connection: Connection[Any]) -> None:
        self.connection = connection
        [(self.build_id,)] = connection.execute(
            "insert into ops.pipeline_runs (run_id, pipeline_name, job, load_date, status) "
            "values ('r', 'p', 'j', %s, 'success') returning id",
            [DAY],
        ).fetchall()

    def publish(
        self,
        asset: str,
        *,
        inputs: Mapping[str, int] | None = None,
        day: date = DAY,
        object_: str = "o",
        code: str = "c",
        rows: str = "",
    ) -> int:
        """Return a publish; without `rows` they are others than those of any other."""
        [(found,)] = self.connection.execute(
            "insert into ops.publishes (asset, load_date, build_id, run_id, manifest_hash, code_version, rows, "
            "checksum, size_bytes, inputs, superseded_at) values (%s, %s, %s, 'r', %s, %s, 1, "
            "coalesce(nullif(%s, ''), gen_random_uuid()::text), 1, %s, now()) returning publish_id",
            [asset, day, self.build_id, object_, code, rows, Json(dict(inputs or {}))],
        ).fetchall()
        return int(found)


def why(shop: KpiShop, ledger: Ledger, pair: Sequence[int], gap: Gap = None) -> str:
    before, after = pair
    return find_reasons(ledger.connection, shop.pipeline(), {(before, after): gap})[before, after]


@pytest.mark.parametrize(
    ("asset", "before", "after", "text"),
    [
        ("raw.things", {"object_": "1"}, {"object_": "2"}, "the source object of things was replaced"),
        ("raw.things", {"object_": NO_OBJECT}, {"object_": "2"}, "the source object of things came"),
        ("raw.things", {"object_": "1"}, {"object_": NO_OBJECT}, "the source object of things was taken away"),
        ("raw.things", {"code": "1"}, {"code": "2"}, "the columns of things were declared otherwise"),
        ("raw.gone", {"object_": "1"}, {"object_": "2"}, "the source object of gone was replaced"),
        ("decisions.raw__things", {}, {}, "it was decided on rows of things that were set aside"),
        ("raw.things", {"rows": "="}, {"rows": "=", "object_": "2"}, "it was built again with other rows"),
    ],
)  # fmt: skip
def test_what_differs_in_an_input(
    kpi_shop: KpiShop, asset: str, before: Mapping[str, Any], after: Mapping[str, Any], text: str
) -> None:
    with kpi_shop.session() as session, session.transaction(force_rollback=True):
        ledger = Ledger(session)
        inputs = [{asset: ledger.publish(asset, **each)} for each in (before, after)]
        between = [{"marts.weighed": ledger.publish("marts.weighed", inputs=each)} for each in inputs]
        pair = [ledger.publish("marts.heavy", inputs=each) for each in between]
        assert why(kpi_shop, ledger, pair) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ([], ["raw.things@2024-03-05"], "things of Tue 5 Mar was published later"),
        (["raw.things@2024-03-05"], [], "things of Tue 5 Mar was taken out"),
        ([], ["decisions.marts__heavy"], "it was decided on rows of heavy that were set aside"),
        (["marts.seen@..2024-03-06"], ["marts.seen@..2024-03-06"], "the history seen was corrected"),
    ],
)
def test_what_differs_in_the_names_of_inputs(kpi_shop: KpiShop, before: list[str], after: list[str], text: str) -> None:
    with kpi_shop.session() as session, session.transaction(force_rollback=True):
        ledger = Ledger(session)
        pair = [
            ledger.publish("marts.heavy", inputs={name: ledger.publish("raw.other") for name in names})
            for names in (before, after)
        ]
        assert why(kpi_shop, ledger, pair) == text


def test_several_causes_are_said_in_one_clause(kpi_shop: KpiShop) -> None:
    with kpi_shop.session() as session, session.transaction(force_rollback=True):
        ledger = Ledger(session)
        inputs = [
            {
                "raw.things": ledger.publish("raw.things", object_=each),
                "raw.labels": ledger.publish("raw.labels", object_=each, code=each),
                "raw.things@2024-03-05": ledger.publish("raw.things", object_=each, day=BEFORE),
            }
            for each in "12"
        ]
        pair = [ledger.publish("marts.heavy", inputs=each, code=code) for each, code in zip(inputs, "cd", strict=True)]
        assert why(kpi_shop, ledger, pair, "removed") == (
            "it was taken out and published again, the source object of labels was replaced, the source object of "
            "things was replaced and 3 more causes"
        )
        # The same object is read twice; it is one cause.
        things = [{"raw.things": of["raw.things"]} for of in inputs]
        between = [{"marts.weighed": ledger.publish("marts.weighed", inputs=each)} for each in things]
        pair = [ledger.publish("marts.heavy", inputs={**each, **of}) for each, of in zip(between, things, strict=True)]
        assert why(kpi_shop, ledger, pair) == "the source object of things was replaced"


def test_rows_that_were_dropped_and_built_again(kpi_shop: KpiShop) -> None:
    with kpi_shop.session() as session, session.transaction(force_rollback=True):
        ledger = Ledger(session)
        pair = [ledger.publish("marts.heavy") for _ in range(2)]
        assert why(kpi_shop, ledger, pair, "dropped") == "its rows were dropped and built again"
        assert why(kpi_shop, ledger, pair) == "it was built again with other rows"
        assert find_reasons(session, kpi_shop.pipeline(), {}) == {}
