"""To add a format, registering it is enough: it works from landing to publish like CSV."""

from dataclasses import dataclass

import pytest

from kpi_assets.assets.factory import pipeline_assets
from kpi_assets.fixtures.database import clear
from kpi_assets.materialize.context import BuildOutcome
from kpi_assets.materialize.object_checks import checks
from kpi_assets.model import written
from kpi_assets.model.format_kinds import FORMAT_KINDS
from kpi_assets.plan.collect import collect
from kpi_assets.sources.formats import FORMATS
from kpi_assets.sources.landing import files_of, land
from kpi_assets_tests.materialize.crash_points import THINGS, leftover_builds
from kpi_assets_tests.other_formats import OTHER_FORMATS
from kpi_assets_tests.pipeline_harness import DAY, MART, RAW_THINGS, PipelineHarness, failed

KEY = f"raw/things/load_date={DAY}/things.other"
ROWS = [(1, "anvil", "20.50"), (2, "feather", None)]
WHOLE = written.problem("integer", "x")
QUARANTINE = "select line, record, column_name, value, reason from ops.quarantine order by line"
ACCOUNTS = (
    "select status, rows_extracted, rows_loaded_raw, rows_quarantined from ops.pipeline_runs "
    "where job = 'raw.things' order by id desc limit 1"
)


@dataclass(frozen=True)
class Case:
    """Objects of one format: ROWS, ROWS with two bad records, and an object that begins differently."""

    good: bytes
    bad: bytes
    quarantined: list[tuple[int, str, str | None, str | None, str | None]]
    other: bytes
    problem: str


CASES = {
    "pipes": Case(
        b"1|anvil|20.50\n2|feather|\n",
        b"1|anvil|20.50\n1_0|saw|1\n2|feather|\nshort\n",
        [
            (2, "1_0|saw|1", "thing_id", "1_0", WHOLE),
            (4, "short", None, None, "it has 1 field, not 3"),
        ],
        b"1|anvil\n",
        "its first line has 2 fields, not 3",
    ),
    "jsonl": Case(
        b'{"thing_id": 1, "weight": 20.50, "name": "anvil"}\n{"thing_id": 2, "name": "feather"}',
        b'{"thing_id": 1, "weight": 20.50, "name": "anvil"}\n{"thing_id": 99999999999}\n{"thing_id": 2, "name": '
        b'"feather"}\n{"thing_id"\n',
        [
            (
                2,
                '{"thing_id": 99999999999}',
                "thing_id",
                "99999999999",
                'value "99999999999" is out of range for type integer',
            ),
            (4, '{"thing_id"', None, None, "it is no JSON"),
        ],
        b"<html>",
        "it is a web page, not JSON: it is mostly what a server says instead of the file: look into it, and fetch the "
        "file again",
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> Case:
    """The objects of a format that is registered and declared by raw.things."""
    for each in OTHER_FORMATS:
        monkeypatch.setitem(FORMAT_KINDS, each.kind.name, each.kind)
        monkeypatch.setitem(FORMATS, each.kind.name, each)
    declare(lab, request.param)
    return CASES[request.param]


def declare(lab: PipelineHarness, name: str, budget: int = 0, storage: str = "rows") -> None:
    text = RAW_THINGS.replace("things.csv", "things.other").replace("grain:", f"storage: {storage}\ngrain:")
    text = text.replace("columns:", f"quarantine: {{rows: {budget}}}\ncolumns:")
    lab.file("raw/things.sql", text.replace("format: csv", f"format: {name}"))
    lab.file("marts/weighed.sql", MART)


def build(lab: PipelineHarness, body: bytes, **changes: int) -> BuildOutcome:
    lab.put(KEY, body)
    return lab.build("raw.things", **changes)


def test_an_object_of_another_format_is_landed_verified_loaded_and_counted(lab: PipelineHarness, case: Case) -> None:
    file = lab.root / "things.other"
    file.write_bytes(case.good)
    [table] = lab.pipeline().object_tables
    assert files_of(lab.pipeline(), DAY, lab.root) == {KEY: file}
    assert land(lab.store, file, KEY, replace=False, content_type=table.format.content_type) == "landed"
    assert lab.s3.head_object(Bucket=lab.bucket, Key=KEY)["ContentType"] == table.format.content_type

    verified = lab.verify("raw.things")
    assert [result.name for result in verified.results] == [check.name for check in checks(table)]
    assert ("ends_with_line_end" in [check.name for check in checks(table)]) is table.format.ends_with_line_end
    assert {check.name: check.description for check in checks(table)}["header"] == table.format.start_check
    assert not failed(verified.results)

    outcome = lab.build("raw.things")
    assert not outcome.held
    assert lab.rows(THINGS) == ROWS
    assert lab.rows(ACCOUNTS) == [("success", 2, 2, 0)]
    assert lab.rows("select rows, size_bytes from ops.manifests") == [(2, len(case.good))]
    assert not lab.build("marts.weighed").held
    with lab.session() as session:
        [[status]] = collect(lab.pipeline(), lab.store, session, DAY, DAY)
    assert status.state == "published"


def test_an_object_with_another_beginning_than_its_format_is_held(lab: PipelineHarness, case: Case) -> None:
    lab.put(KEY, case.other)
    verified = lab.verify("raw.things")
    assert {name: result.message for name, result in failed(verified.results).items() if result.blocking} == {
        "header": f"s3://{lab.bucket}/{KEY}: {case.problem}"
    }


def test_bad_records_are_quarantined_and_hold_the_build_above_the_budget(
    lab: PipelineHarness, case: Case, request: pytest.FixtureRequest
) -> None:
    name = lab.pipeline().table("raw.things").format.name
    declare(lab, name, budget=2)
    within = build(lab, case.bad)
    assert not within.held
    assert lab.rows(THINGS) == ROWS
    assert lab.rows(QUARANTINE) == case.quarantined
    assert lab.rows(ACCOUNTS) == [("success", 4, 2, 2)]

    declare(lab, name, budget=1)
    over = build(lab, case.bad)
    assert over.held
    assert list(failed(over.results)) == ["quarantine"]
    assert lab.rows("select publish_id from ops.published") == [(within.publish_id,)]


def test_a_replay_into_an_empty_database_gives_the_same_rows(lab: PipelineHarness, case: Case) -> None:
    declare(lab, lab.pipeline().table("raw.things").format.name, budget=2)
    first = build(lab, case.bad)
    content = lab.rows("select rows, sha256 from ops.manifests")
    with lab.session() as session:
        clear(session, lab.pipeline())
    again = lab.build("raw.things")
    assert (again.rows, again.checksum) == (2, first.checksum)
    assert lab.rows("select rows, sha256 from ops.manifests") == content


def test_assets_have_the_name_of_their_format(lab: PipelineHarness, case: Case) -> None:
    name = lab.pipeline().table("raw.things").format.name
    kinds = {spec.key.to_user_string(): spec.kinds for each in pipeline_assets(lab.pipeline()) for spec in each.specs}
    assert kinds[f"{lab.name}/s3/things"] == {"s3", name}
    assert kinds[f"{lab.name}/raw/things"] == {"postgres", name}


@pytest.mark.parametrize("case", ["pipes"], indirect=True)
def test_a_large_object_is_loaded_in_slices(lab: PipelineHarness, case: Case) -> None:
    body = b"".join(b"%d|n%d|%d\n" % (number, number, number % 7) for number in range(1, 2001))
    declare(lab, "pipes", storage="partitions")
    one = build(lab, body)
    many = build(lab, body, writers=3, slice_bytes=len(body) // 5)
    assert (many.rows, many.checksum, many.held) == (2000, one.checksum, False)
    assert lab.rows("select count(distinct tableoid) from raw.things") == [(6,)]

    fall = b"".join(reversed(body.splitlines(keepends=True)))
    assert build(lab, fall, writers=3, slice_bytes=len(body) // 5).checksum == one.checksum
    assert lab.rows("select count(distinct tableoid) from raw.things") == [(1,)]
    assert leftover_builds(lab) == []


@pytest.mark.parametrize("case", ["pipes"], indirect=True)
def test_an_object_that_copy_refuses_is_read_record_by_record(lab: PipelineHarness, case: Case) -> None:
    assert not build(lab, b"1|a\\nvil|20.50\n").held
    assert lab.rows(THINGS) == [(1, "a\\nvil", "20.50")]
