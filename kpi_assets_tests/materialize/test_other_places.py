"""A pipeline is built from a container on Azure and from a folder as it is from a bucket on S3."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kpi_assets.plan.collect import collect
from kpi_assets.settings import Settings
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import Store
from kpi_assets_tests.pipeline_harness import DAY, DOUBLED, GOOD, MART, NEXT, PipelineHarness, failed
from kpi_assets_tests.sources import lakes

KEY = "raw/things/load_date={}/things.csv"


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with lakes.azurite(tmp_path_factory.mktemp("azurite")) as endpoint:
        yield endpoint


@pytest.fixture(params=[pytest.param("az", marks=pytest.mark.process), "file"])
def elsewhere(
    request: pytest.FixtureRequest, things: PipelineHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> PipelineHarness:
    """A lab whose objects are in a container or in a folder, and not on S3."""
    things.file("marts/weighed.sql", MART)
    if request.param == "file":
        (tmp_path / "lake").mkdir()
        things.store = Store.open(Settings(), f"file://{tmp_path}/lake")
        return things
    endpoint = request.getfixturevalue("azurite")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", lakes.KEY)
    lakes.make_container(endpoint, things.bucket)
    things.store = Store.open(Settings(azure_endpoint_url=endpoint), f"az://{lakes.ACCOUNT}/{things.bucket}")
    return things


def statuses(lab: PipelineHarness) -> dict[str, str]:
    with lab.session() as session:
        found = [each for of_year in collect(lab.pipeline(), lab.store, session, DAY, NEXT) for each in of_year]
    return {str(status.load_date): status.state for status in found}


def test_objects_are_built_published_and_held(elsewhere: PipelineHarness) -> None:
    lab = elsewhere
    lab.store.put(KEY.format(DAY), GOOD)
    lab.store.put(KEY.format(NEXT), DOUBLED)
    assert not lab.build("raw.things").held
    assert not lab.build("marts.weighed").held
    assert lab.rows("select thing_id, weight::text from marts.weighed order by 1") == [(1, "20.50")]
    assert set(failed(lab.build("raw.things", NEXT).results)) == {"grain"}
    here = "select size_bytes, version_id from ops.manifests where bucket like '%://%' order by load_date"
    assert lab.rows(here) == [(len(GOOD), None), (len(DOUBLED), None)]
    assert statuses(lab) == {str(DAY): "published", str(NEXT): "held"}


def test_a_replaced_object_makes_its_load_date_stale_and_is_not_read_as_the_old_one(elsewhere: PipelineHarness) -> None:
    lab = elsewhere
    lab.store.put(KEY.format(DAY), GOOD)
    assert not lab.build("raw.things").held
    assert not lab.build("marts.weighed").held
    assert statuses(lab)[str(DAY)] == "published"
    context = lab.prepared()
    manifest = lab.store.manifest("things", DAY, KEY.format(DAY))
    assert manifest is not None
    lab.store.put(KEY.format(DAY), GOOD.replace(b"20.50", b"21.50"))
    assert statuses(lab)[str(DAY)] == "stale"
    with pytest.raises(LakeError, match=rf"^{lab.store.bucket}/{KEY.format(DAY)} was replaced or removed after its"):
        list(context.store.read(manifest))
    assert not lab.build("raw.things").held
    assert not lab.build("marts.weighed").held
    assert lab.rows("select thing_id, weight::text from marts.weighed order by 1") == [(1, "21.50")]


def test_an_object_that_is_not_there_is_named_by_its_address(elsewhere: PipelineHarness) -> None:
    [exists] = elsewhere.verify("raw.things").results
    assert exists.message == f"{elsewhere.store.bucket}/{KEY.format(DAY)} is not there"
