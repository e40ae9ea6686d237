"""If bytes change silently in the store or in transit, nothing is built from them."""

import hashlib
from collections.abc import Callable, Iterator

import pytest

from kpi_assets.errors import UserError
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.verify_object import verify
from kpi_assets.settings import settings
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.s3_objects import client
from kpi_assets.sources.store import Store
from kpi_assets_tests.materialize.crash_points import GOOD_ROWS, THINGS, leftover_builds, statuses
from kpi_assets_tests.pipeline_harness import DAY, GOOD, NEXT, RAW_THINGS, PipelineHarness
from kpi_assets_tests.s3_proxy import Flip, Proxy, Says, faulty

ROTTEN = GOOD.replace(b"20.50", b"20.51")


@pytest.fixture
def lab(lab: PipelineHarness) -> Iterator[PipelineHarness]:
    """A pipeline whose bucket is behind a proxy, and whose store is one of AWS."""
    endpoint = settings().s3_endpoint_url
    assert endpoint is not None
    with faulty(endpoint) as proxy:
        s3 = client(settings().model_copy(update={"s3_endpoint_url": proxy.url}))
        s3.meta.config.request_checksum_calculation = "when_required"
        lab.s3, lab.store, lab.proxy = s3, Store.on_s3(s3, lab.bucket), proxy
        proxy.breaks(Says({"server": "AmazonS3"}), on="HEAD", times=1000)
        yield lab
        s3.close()


def rot(lab: PipelineHarness, old: bytes, new: bytes, day: object = DAY) -> None:
    """Change bytes of an object of the store without a change of its ETag or timestamps."""
    key = f"raw/things/load_date={day}/things.csv"
    lab.proxy.rots(lab.bucket, key, lab.s3.get_object(Bucket=lab.bucket, Key=key)["Body"].read(), old, new)


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def assert_refused(lab: PipelineHarness, attempt: Callable[[], object], said: str) -> None:
    with pytest.raises(UserError) as failure:
        attempt()
    assert str(failure.value) == said
    assert statuses(lab, "raw.things")[-1] == ("failed", said)
    assert leftover_builds(lab) == []


def other_bytes(lab: PipelineHarness, found: str, held: str, day: object = DAY) -> str:
    return (
        f"s3://{lab.bucket}/raw/things/load_date={day}/things.csv was read as other bytes than the store says it holds "
        f"(their MD5 is {found}, not {held}): run the load_date again, and where that says the same, land the object "
        "again from its source with --replace."
    )


def test_a_byte_that_changed_in_the_store_after_a_publish_is_not_published(things: PipelineHarness) -> None:
    first = things.rows("select manifest_hash, sha256, rows from ops.manifests")
    rot(things, b"20.50", b"20.51")
    old, new = hashlib.sha256(GOOD).hexdigest(), hashlib.sha256(ROTTEN).hexdigest()
    assert first[0][1] == old

    assert_refused(things, lambda: things.build("raw.things"), other_bytes(things, md5(ROTTEN), md5(GOOD)))
    # If the store has no checksum, that of the manifest is compared.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kpi_assets.sources.s3_objects._MD5_SERVER", "none")
        assert_refused(
            things,
            lambda: things.build("raw.things"),
            f"s3://{things.bucket}/raw/things/load_date={DAY}/things.csv is not what it was, although S3 describes it "
            f"as before: its bytes had the sha256 {old} when they were read first, and have {new} now; land the object "
            "again from its source with --replace, and run the load_date again.",
        )

    assert things.rows("select manifest_hash, sha256, rows from ops.manifests") == first
    assert things.rows(THINGS) == GOOD_ROWS
    assert things.rows("select count(*) from ops.publishes") == [(1,)]


def test_a_byte_that_changed_in_the_store_before_the_first_read_is_not_published(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(GOOD)
    assert not lab.verify("raw.things").held
    rot(lab, b"20.50", b"20.51")

    assert_refused(lab, lambda: lab.build("raw.things"), other_bytes(lab, md5(ROTTEN), md5(GOOD)))

    assert lab.rows("select sha256 from ops.manifests") == [(None,)]
    assert lab.rows("select count(*) from ops.publishes") == [(0,)]


def test_a_changed_byte_of_an_object_of_several_parts_is_not_published(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kpi_assets.sources.store.PART", 16)
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(GOOD)
    assert not lab.verify("raw.things").held
    rot(lab, b"20.50", b"20.51")
    assert_refused(lab, lambda: lab.build("raw.things"), other_bytes(lab, md5(ROTTEN), md5(GOOD)))


def test_a_changed_object_that_is_landed_again_is_published_as_before(things: PipelineHarness) -> None:
    first = things.rows("select manifest_hash, sha256 from ops.manifests")
    rot(things, b"20.50", b"20.51")
    with pytest.raises(LakeError):
        things.build("raw.things")
    things.proxy.heals()
    things.put_things(GOOD)
    assert not things.build("raw.things").held
    assert things.rows("select manifest_hash, sha256 from ops.manifests") == first
    assert things.rows(THINGS) == GOOD_ROWS


def test_changed_bytes_are_not_quarantined_as_bad_records(things: PipelineHarness) -> None:
    things.put_things(GOOD, NEXT)
    assert not things.verify("raw.things", NEXT).held
    rot(things, b"20.50", b"2o.50", NEXT)
    rotten = GOOD.replace(b"20.50", b"2o.50")
    said = other_bytes(things, md5(rotten), md5(GOOD), NEXT)
    assert_refused(things, lambda: things.build("raw.things", NEXT), said)
    assert things.rows("select count(*) from ops.quarantine") == [(0,)]


# ---- in transit


@pytest.fixture
def proxied(lab: PipelineHarness) -> tuple[PipelineHarness, Proxy, Store]:
    """A pipeline, and its bucket behind a proxy."""
    lab.file("raw/things.sql", RAW_THINGS)
    return lab, lab.proxy, lab.store


def through(lab: PipelineHarness, store: Store) -> Callable[[], object]:
    context = lab.prepared()
    context = BuildContext(context.pipeline, context.server, store, context.run_id)
    return lambda: build(context, context.pipeline.table("raw.things"), DAY)


OBJECT = "things.csv bytes="  # a part of it, and not the listing of decisions


def test_a_byte_that_changes_in_transit_is_not_published(proxied: tuple[PipelineHarness, Proxy, Store]) -> None:
    lab, proxy, store = proxied
    lab.put_things(GOOD)
    attempt = through(lab, store)
    verify(lab.context(), lab.pipeline().table("raw.things"), DAY)
    at = GOOD.index(b"20.50") + 4
    proxy.breaks(Flip(at), on=OBJECT, times=2)  # the look at its first bytes, and the load

    assert_refused(lab, attempt, other_bytes(lab, md5(GOOD.replace(b"20.50", b"20.51")), md5(GOOD)))
    assert lab.rows("select count(*) from ops.publishes") == [(0,)]

    attempt()
    assert lab.rows(THINGS) == GOOD_ROWS
    proxy.breaks(Flip(at), on=OBJECT, times=2)  # the look at its first bytes, and the load
    with pytest.raises(LakeError):
        attempt()
    assert lab.rows("select sha256 from ops.manifests") == [(hashlib.sha256(GOOD).hexdigest(),)]
    assert lab.rows(THINGS) == GOOD_ROWS
