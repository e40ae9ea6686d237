"""Where the numbers of a publish come from: tables, objects and checks of that very publish."""

import hashlib

import pytest

from kpi_assets.errors import UserError
from kpi_assets.read.lineage import Lineage, Node, read_lineage
from kpi_assets_tests.pipeline_harness import RAW_THINGS
from kpi_assets_tests.read.kpi_shop import MORE_THINGS, KpiShop
from kpi_assets_tests.read.shown import shown_lineage
from kpi_assets_tests.two_source_pipeline import THINGS

HEAVY = "marts.heavy"


def shown(kpi_shop: KpiShop) -> Lineage:
    with kpi_shop.reader() as connection:
        return shown_lineage(connection, kpi_shop.pipeline(), HEAVY, kpi_shop.day)


def nodes(lineage: Lineage) -> dict[str, Node]:
    return {node.asset: node for node in lineage.nodes}


def test_tables_objects_and_checks_of_a_publish(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    found = shown(kpi_shop)
    of = nodes(found)
    assert {*of} == {"raw.things", "raw.labels", "marts.weighed", "marts.heavy"}
    assert found.publish == of["marts.heavy"]
    assert {*of["marts.heavy"].reads} == {of["marts.weighed"].publish_id, of["raw.labels"].publish_id}
    assert of["marts.weighed"].reads == [of["raw.things"].publish_id]
    assert [(node.layer, node.rows, node.set_aside) for node in of.values() if node.asset == "raw.things"] == [
        ("raw", 2, 0)
    ]
    [file] = of["raw.things"].files
    assert (file.url, file.size_bytes, file.rows, file.sha256) == (
        f"s3://{kpi_shop.bucket}/{kpi_shop.key('things')}",
        len(THINGS),
        2,
        hashlib.sha256(THINGS).hexdigest(),
    )
    assert (found.records, found.set_aside, found.is_accounted, len(found.files)) == (3, 0, True, 2)
    # Each asset's own checks, those of an object before those of its table.
    assert [(check.asset, check.name) for check in found.checks if "things" in check.asset] == [
        *(("s3.things", name) for name in ("exists", "not_empty", "header", "ends_with_line_end")),
        *(("raw.things", name) for name in ("rows_accounted", "quarantine", "not_seen_before", "grain", "min_rows")),
    ]
    assert found.passed == len(found.checks)
    assert next(check.description for check in found.checks if check.name == "grain") == (
        "One row per thing_id; none is null."
    )


def test_a_superseded_publish_names_the_object_that_it_was_made_from(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    before = shown(kpi_shop)
    kpi_shop.land(things=MORE_THINGS, labels=None)
    kpi_shop.run()
    after = shown(kpi_shop)
    assert nodes(after)["raw.things"].files[0].sha256 == hashlib.sha256(MORE_THINGS).hexdigest()
    with kpi_shop.reader() as connection:
        again = read_lineage(connection, kpi_shop.pipeline(), before.publish.publish_id)
    assert [node.files for node in again.nodes] == [node.files for node in before.nodes]
    assert again.checks == before.checks
    assert (before.publish.superseded_at, again.publish.superseded_at is None) == (None, False)


def test_records_that_were_set_aside_are_accounted_for(kpi_shop: KpiShop) -> None:
    kpi_shop.file("raw/things.sql", RAW_THINGS.replace("columns:\n", "quarantine: {rows: 1}\ncolumns:\n", 1))
    kpi_shop.land(things=b"thing_id,name,weight\n1,anvil,20.50\n2,feather,light\n")
    assert kpi_shop.run()["marts.heavy"] == "published"
    found = shown(kpi_shop)
    assert (found.records, found.set_aside, found.is_accounted) == (3, 1, True)


def test_a_publish_that_never_was(kpi_shop: KpiShop) -> None:
    with (
        kpi_shop.reader() as connection,
        pytest.raises(UserError, match=rf"^The ledger of {kpi_shop.name} has no publish 0\.$"),
    ):
        read_lineage(connection, kpi_shop.pipeline(), 0)
