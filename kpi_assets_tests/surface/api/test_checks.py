"""What stands behind a number, over HTTP: checks, publishes, and objects with their sha256."""

import hashlib
from urllib.parse import quote

from kpi_assets_tests.surface.api.conftest import CORRECTED, LABELS, THINGS, Site
from kpi_assets_tests.surface.api.test_kpis import ask, problem, publishes


def test_from_the_number_to_the_objects(site: Site) -> None:
    found = ask(site, f"{site.base}/lineage?load_date={site.first}")
    nodes = {each["table"]: each for each in found["nodes"]}
    assert [each["table"] for each in found["nodes"]][-1] == "marts.heavy"
    assert set(nodes) == {"raw.things", "raw.labels", "marts.weighed", "marts.heavy"}
    assert nodes["marts.heavy"]["publish_id"] == publishes(site)[2] == found["trust"]["publish_id"]
    assert set(nodes["marts.heavy"]["reads"]) == {
        nodes["marts.weighed"]["publish_id"],
        nodes["raw.labels"]["publish_id"],
    }
    assert {each["url"]: each["sha256"] for node in found["nodes"] for each in node["files"]} == {
        f"s3://{site.shop.bucket}/{site.shop.key('things', site.first)}": hashlib.sha256(CORRECTED).hexdigest(),
        f"s3://{site.shop.bucket}/{site.shop.key('labels', site.first)}": hashlib.sha256(LABELS).hexdigest(),
    }
    assert (found["records"], found["set_aside"], found["every_record_accounted"]) == (6, 0, True)
    assert (nodes["raw.things"]["records"], nodes["raw.things"]["layer"]) == (3, "raw")


def test_of_a_publish_that_was_replaced_they_are_those_of_that_time(site: Site) -> None:
    found = ask(site, f"{site.base}/lineage?load_date={site.first}&as_of={quote(site.before.isoformat())}")
    assert found["nodes"][-1]["publish_id"] == publishes(site)[0]
    [things] = [each for node in found["nodes"] if node["table"] == "raw.things" for each in node["files"]]
    assert (things["sha256"], things["size_bytes"]) == (hashlib.sha256(THINGS).hexdigest(), len(THINGS))


def test_every_check_on_the_way(site: Site) -> None:
    found = ask(site, f"{site.base}/checks?load_date={site.latest}")
    assert {each["table"] for each in found["checks"]} >= {"raw.things", "raw.labels", "marts.heavy"}
    same_bytes = ["raw.labels", "raw.things"]  # as the day before
    assert sorted(each["table"] for each in found["checks"] if each["status"] != "pass") == same_bytes
    assert (found["passed"], found["not_passed"]) == (len(found["checks"]) - 2, 2)
    [grain] = [each for each in found["checks"] if (each["table"], each["name"]) == ("marts.heavy", "grain")]
    assert (grain["status"], grain["measured"], grain["load_date"]) == ("pass", 0, str(site.latest))
    assert found["trust"]["publish_id"] == publishes(site)[1]


def test_a_load_date_that_is_not_published_has_nothing_behind_it(site: Site) -> None:
    for end in ("checks", "lineage"):
        assert problem(site, f"{site.base}/{end}?load_date={site.held}", 404)["title"].endswith("is not published.")
