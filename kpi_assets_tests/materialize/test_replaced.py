"""If an object changes between its verification and the end of the read, nothing is built from a mixture."""

import re
from collections.abc import Callable

import pytest

from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import UpstreamError
from kpi_assets.sources.refusals import LakeError
from kpi_assets_tests.examples import few
from kpi_assets_tests.materialize.crash_points import GOOD_ROWS, THINGS, WIDE, at, leftover_builds, statuses
from kpi_assets_tests.pipeline_harness import DAY, GOOD, RAW_THINGS, PipelineHarness, failed

KEY = f"raw/things/load_date={DAY}/things.csv"
SAW = b"thing_id,name,weight\n7,saw,1.00\n"
# The first two parts of an S3 read are requested ahead. This object is so long that it can change before its last.
LONG = WIDE + WIDE.partition(b"\n")[2].replace(b",1.25\n", b",2.25\n")


def replaced(lab: PipelineHarness) -> None:
    """Replace the object by other bytes of the same length."""
    lab.put_things(LONG.replace(b"1.25", b"9.99"))


def truncated(lab: PipelineHarness) -> None:
    lab.put_things(LONG[: len(LONG) // 2])


def removed(lab: PipelineHarness) -> None:
    lab.s3.delete_object(Bucket=lab.bucket, Key=KEY)


def assert_untouched(lab: PipelineHarness, said: str) -> None:
    assert said == (
        f"s3://{lab.bucket}/{KEY} was replaced or removed after its manifest was recorded: "
        "materialise the s3 asset 'things' of 2025-03-01 again, and what follows it."
    )
    assert statuses(lab, "raw.things") == [("success", None), ("failed", said)]
    assert lab.rows("select rows from ops.publishes") == [(2,)]
    assert lab.rows(THINGS) == GOOD_ROWS
    assert leftover_builds(lab) == []


@pytest.mark.parametrize("change", few(1, [replaced, truncated, removed]))
def test_an_object_that_changes_between_verification_and_build_is_not_published(
    things: PipelineHarness, change: Callable[[PipelineHarness], None]
) -> None:
    things.put_things(LONG)
    things.verify("raw.things")
    change(things)

    context = things.prepared()
    with pytest.raises(LakeError) as failure:
        build(context, context.pipeline.table("raw.things"), DAY)

    assert_untouched(things, str(failure.value))


@pytest.mark.parametrize("change", few(1, [replaced, truncated, removed]))
def test_an_object_that_changes_while_it_is_read_is_not_published(
    things: PipelineHarness, change: Callable[[PipelineHarness], None]
) -> None:
    things.put_things(LONG)

    with pytest.raises(LakeError) as failure:
        things.build("raw.things", on_progress=at("copying", lambda: change(things)))

    assert_untouched(things, str(failure.value))


def test_an_object_that_changes_while_bad_records_are_sorted_out_is_not_published(things: PipelineHarness) -> None:
    things.put_things(GOOD + b"3,heavy,tons\n")
    say = at("separating unreadable records", lambda: things.put_things(GOOD + b"3,heavy,9.99\n"))

    with pytest.raises(LakeError) as failure:
        things.build("raw.things", on_progress=say)

    assert_untouched(things, str(failure.value))
    assert things.rows("select count(*) from ops.quarantine") == [(0,)]


def test_a_replaced_object_is_published_after_another_verification(things: PipelineHarness) -> None:
    things.put_things(LONG)
    things.verify("raw.things")
    things.put_things(SAW)
    assert things.build("raw.things").rows == 1
    assert things.rows(THINGS) == [(7, "saw", "1.00")]
    assert things.rows(
        "select m.size_bytes, m.rows, m.manifest_hash = p.manifest_hash from ops.manifests as m "
        "cross join ops.published as p order by m.manifest_id"
    ) == [(len(GOOD), 2, False), (len(LONG), None, False), (len(SAW), 1, True)]


def test_the_same_bytes_landed_again_have_the_same_manifest(things: PipelineHarness) -> None:
    first = things.rows("select manifest_hash, checksum from ops.published")
    things.put_things(GOOD)
    things.build("raw.things")
    assert things.rows("select manifest_hash, checksum from ops.published") == first
    assert things.rows("select count(*) from ops.manifests") == [(1,)]


def test_an_object_that_was_never_verified_is_not_built_from(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(GOOD)
    context = lab.prepared()
    with pytest.raises(UpstreamError) as failure:
        build(context, context.pipeline.table("raw.things"), DAY)
    assert str(failure.value) == (
        "raw.things of 2025-03-01 cannot be built: its object has not been verified; "
        f"materialize {lab.name}/s3/things of that load_date first."
    )
    assert statuses(lab, "raw.things") == [("failed", str(failure.value))]


@pytest.mark.parametrize(
    ("body", "said"),
    few(
        1,
        [
            (b"thing_id,name\n5,6\n", "missing 'weight'"),
            (b"thing_id,name,weight,height\n5,6,7,8\n", "unknown 'height'"),
            (b"", "missing 'thing_id', 'name', 'weight'"),
        ],
    ),
)
def test_an_object_whose_verification_is_held_is_not_published_in_a_later_run(
    things: PipelineHarness, body: bytes, said: str
) -> None:
    things.file("raw/things.sql", RAW_THINGS.replace("@end", "checks: {min_rows: {at_least: 0, of_previous: 0}}\n@end"))
    things.put_things(body)
    assert things.verify("raw.things").held

    context = things.prepared()
    outcome = build(context, context.pipeline.table("raw.things"), DAY)

    assert outcome.held
    assert re.search(re.escape(said), failed(outcome.results)["rows_accounted"].message)
    assert things.rows(THINGS) == GOOD_ROWS
    assert things.rows("select rows from ops.publishes") == [(2,)]
