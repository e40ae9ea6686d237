"""A load_date that the ledger lists as published, but whose rows are gone from the database, is `lost`."""

import pytest

from kpi_assets_tests.examples import few
from kpi_assets_tests.two_source_pipeline import WEIGHED, TwoSourcePipeline


@pytest.mark.parametrize("storage", ["rows", "partitions"])
@pytest.mark.parametrize("cut", few(1, ["table", "schema", "rows"]))
def test_a_load_date_whose_rows_are_gone_is_lost_and_built_again(
    shop: TwoSourcePipeline, storage: str, cut: str
) -> None:
    shop.file("marts/weighed.sql", WEIGHED.replace("grain:", f"storage: {storage}\ngrain:"))
    with shop.session() as session:
        session.execute("drop table if exists marts.weighed cascade")  # left by the previous test with another storage
    shop.land()
    shop.run()
    with shop.session() as session:
        if cut == "rows":
            [(name,)] = session.execute("select distinct tableoid::regclass::text from marts.weighed").fetchall()
            session.execute(f"delete from {name}" if storage == "rows" else f"drop table {name}")  # type: ignore[call-overload]
        else:
            session.execute("drop schema marts cascade" if cut == "schema" else "drop table marts.weighed")
    shop.prepared()
    lost = ["marts.weighed", "marts.heavy"] if cut == "schema" else ["marts.weighed"]
    found = shop.status()
    assert (found.state, found.stale_reason) == ("lost", "lost")
    assert found.reason == f"Published, but their rows are gone from the database: {', '.join(lost)}."
    assert found.tables_to_build == ("marts.weighed", "marts.heavy"), "tables that read the lost one are built as well"
    assert found.is_due(rebuild_on_sql_change=False)
    shop.s3.delete_object(Bucket=shop.bucket, Key=shop.key("labels"))
    gone = f"1 of its 2 objects landed; lacking: {shop.key('labels')}."
    found_without = shop.status()
    assert (found_without.state, found_without.stale_reason) == ("lost", None)
    assert found_without.reason == f"{found.reason} They cannot be built again: {gone}"
    shop.land()
    shop.run()
    assert shop.status().state == "published"


def test_a_load_date_without_rows_is_not_lost(shop: TwoSourcePipeline) -> None:
    with shop.session() as session:
        session.execute("drop table if exists marts.weighed cascade")
    shop.file("marts/weighed.sql", WEIGHED.replace("@end", "checks:\n  min_rows: {at_least: 0, of_previous: 0}\n@end"))
    shop.land(things=b"thing_id,name,weight\n1,anvil,\n")
    shop.run()
    assert shop.rows(f"select rows from ops.published where asset = 'marts.weighed' and load_date = '{shop.day}'") == [
        (0,)
    ]
    assert "marts.weighed" not in shop.status().reason
