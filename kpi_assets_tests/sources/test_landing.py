"""A file is landed once: the same bytes change nothing, other bytes are refused, partial uploads leave nothing."""

import os
import random
import re
from pathlib import Path

import pytest

from kpi_assets.errors import UserError
from kpi_assets.sources import landing, s3_objects
from kpi_assets.sources.dated_files import DatedFile, find_dated_files
from kpi_assets.sources.landing import land, land_all
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import Store
from kpi_assets_tests.s3_proxy import FlipSent, HangUp, Refuse, SlowTake
from kpi_assets_tests.sources.conftest import DAY, Faulty, put
from kpi_assets_tests.sources.test_dated_files import pipeline

KEY = "raw/things/load_date=2025-03-01/things.csv"
BODY = random.Random(2).randbytes(20 << 20)
PART = 8 << 20  # bytes; S3 requires at least 5 MiB. BODY has three parts.


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "things.csv"
    path.write_bytes(b"thing_id\n1\n")
    return path


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(s3_objects, "UPLOAD_PART", PART)
    path = tmp_path / "large.csv"
    path.write_bytes(BODY)
    return path


def stored(store: Store) -> bytes | None:
    manifest = store.manifest("things", DAY, KEY)
    return b"".join(store.read(manifest)) if manifest else None


def test_a_file_is_landed_once(store: Store, file: Path) -> None:
    done: list[int] = []
    assert land(store, file, KEY, replace=False, on_progress=done.append) == "landed"
    assert (stored(store), done) == (b"thing_id\n1\n", [11])
    before = store.manifest("things", DAY, KEY)
    for replace in (False, True):
        assert land(store, file, KEY, replace=replace, on_progress=done.append) == "unchanged"
    assert (store.manifest("things", DAY, KEY), done) == (before, [11, 11, 11]), "nothing was written"


@pytest.mark.parametrize("body", [b"thing_id\n2\n", b"thing_id\n1\n2\n", b"thing_id\n", b""])
def test_other_bytes_are_refused_without_replace(store: Store, file: Path, body: bytes) -> None:
    land(store, file, KEY, replace=False)
    file.write_bytes(body)
    with pytest.raises(
        UserError,
        match=rf"^s3://{store.bucket}/{KEY} holds other bytes than {file}: raw objects are immutable; say --replace if",
    ):
        land(store, file, KEY, replace=False)
    assert stored(store) == b"thing_id\n1\n"
    assert land(store, file, KEY, replace=True) == "replaced"
    assert stored(store) == body


def test_an_empty_file_is_landed(store: Store, file: Path) -> None:
    file.write_bytes(b"")
    assert land(store, file, KEY, replace=False) == "landed"
    assert stored(store) == b""
    assert land(store, file, KEY, replace=False) == "unchanged"


def test_landing_a_missing_file_is_an_error(store: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path, what in (
        (tmp_path / "nothing.csv", "is not there"),
        (tmp_path, "is not a regular file"),
        (tmp_path / "pipe.csv", "is not a regular file"),
    ):
        with pytest.raises(UserError, match=rf"^The file {path} {what}: put it there, or name another folder"):
            land(store, path, KEY, replace=False)


def test_landing_into_a_missing_bucket_is_an_error(store: Store, file: Path) -> None:
    with pytest.raises(LakeError, match="The bucket nowhere does not exist"):
        land(Store.on_s3(store.objects.s3, "nowhere"), file, KEY, replace=False)


def test_a_large_file_is_landed_in_parts(broken: Faulty, large: Path) -> None:
    done: list[int] = []
    assert land(broken.store, large, KEY, replace=False, on_progress=done.append) == "landed"
    assert done == [PART, 2 * PART, len(BODY)]
    assert len(broken.proxy.asked("partNumber=")) == 3
    assert stored(broken.store) == BODY
    assert land(broken.store, large, KEY, replace=False) == "unchanged"
    large.write_bytes(BODY[:-1] + b"x")
    with pytest.raises(UserError, match="holds other bytes"):
        land(broken.store, large, KEY, replace=False)
    assert land(broken.store, large, KEY, replace=True) == "replaced"
    assert stored(broken.store) == BODY[:-1] + b"x"


def test_a_part_that_fails_is_sent_again_alone(broken: Faulty, large: Path) -> None:
    broken.proxy.breaks(Refuse(503), on="partNumber=2")
    broken.proxy.breaks(HangUp(), on="partNumber=3")
    assert land(broken.store, large, KEY, replace=False) == "landed"
    assert [request.split("partNumber=")[1][0] for request in broken.proxy.asked("partNumber=")] == list("12233")
    assert stored(broken.store) == BODY


@pytest.mark.parametrize("where", ["partNumber=2", "?uploadId="], ids=["in a part", "at the end"])
@pytest.mark.parametrize("before", [None, b"thing_id\n1\n"])
def test_a_failed_multipart_upload_leaves_nothing_behind(
    broken: Faulty, large: Path, where: str, before: bytes | None
) -> None:
    if before:
        put(broken.store, KEY, before)
    broken.proxy.breaks(Refuse(403, "AccessDenied"), on=where)
    with pytest.raises(LakeError, match=rf"^s3://{broken.store.bucket}/{KEY} cannot be used: access is refused"):
        land(broken.store, large, KEY, replace=True)
    assert stored(broken.store) == before
    uploads = broken.store.objects.s3.list_multipart_uploads(Bucket=broken.store.bucket)
    assert uploads.get("Uploads", []) == []
    assert len(broken.proxy.asked("DELETE")) == 1
    assert land(broken.store, large, KEY, replace=True) == ("replaced" if before else "landed")


def test_a_failed_upload_in_one_request_leaves_nothing_behind(broken: Faulty, file: Path) -> None:
    broken.proxy.breaks(Refuse(503), on="PUT", times=100)
    with pytest.raises(LakeError, match=r"the store takes no more requests for now \(SlowDown\)"):
        land(broken.store, file, KEY, replace=False)
    assert len(broken.proxy.asked("PUT")) == 5
    assert stored(broken.store) is None


def test_a_byte_that_changes_during_the_upload_is_not_landed(broken: Faulty, file: Path) -> None:
    broken.proxy.breaks(FlipSent(3), on="PUT")
    with pytest.raises(LakeError) as failure:
        land(broken.store, file, KEY, replace=False)
    assert str(failure.value) == (
        f"s3://{broken.store.bucket}/{KEY} cannot be used: its bytes changed on their way there, and the store did not "
        "take them: try again."
    )
    assert stored(broken.store) is None


def test_a_byte_of_a_part_that_changes_during_the_upload_is_not_landed(broken: Faulty, large: Path) -> None:
    broken.proxy.breaks(FlipSent(3), on="partNumber=2")
    with pytest.raises(LakeError, match="its bytes changed on their way there"):
        land(broken.store, large, KEY, replace=False)
    assert stored(broken.store) is None


@pytest.fixture
def impatient(broken: Faulty, monkeypatch: pytest.MonkeyPatch) -> Faulty:
    """A store that requires 16 MiB a second, which is a part of 8 MiB in half a second."""
    monkeypatch.setattr(s3_objects, "LEAST_SECONDS", 0.3)
    return Faulty(Store.on_s3(broken.store.objects.s3, broken.store.bucket, least_rate=16 << 20), broken.proxy)


@pytest.mark.nightly
def test_a_part_that_is_taken_too_slowly_is_sent_again_alone(impatient: Faulty, large: Path) -> None:
    impatient.proxy.breaks(SlowTake(1 << 18, 0.2), on="partNumber=2")
    assert land(impatient.store, large, KEY, replace=False) == "landed"
    assert [request.split("partNumber=")[1][0] for request in impatient.proxy.asked("partNumber=")] == list("1223")
    assert stored(impatient.store) == BODY


@pytest.mark.nightly
def test_a_part_that_is_always_taken_too_slowly_is_an_error_that_names_the_setting(
    impatient: Faulty, large: Path
) -> None:
    impatient.proxy.breaks(SlowTake(1 << 18, 0.2), on="partNumber=2", times=100)
    with pytest.raises(LakeError) as failure:
        land(impatient.store, large, KEY, replace=False)
    assert re.fullmatch(
        rf"s3://{impatient.store.bucket}/{KEY} cannot be landed: [\d,]+ of 8,388,608 bytes were taken in \d s, slower "
        r"than 16,777,216 bytes a second \(KPI_S3_LEAST_RATE\)\.",
        str(failure.value),
    )
    assert len(impatient.proxy.asked("partNumber=2")) == 5
    assert stored(impatient.store) is None


# ---- several files at once


def shop_files(folder: Path, count: int) -> list[DatedFile]:
    """Return a data file for each of some load_dates, and a marker of the first."""
    more = ', complete: {marker: "raw/lines/{load_date}/_SUCCESS"}'
    of = pipeline(folder, more=more, lines="raw/lines/{load_date}/part-*.csv")
    for n in range(1, count + 1):
        path = folder / "files" / f"2025-03-{n:02}" / "part-1.csv"
        path.parent.mkdir(parents=True)
        path.write_text(f"receipt\n{n}\n")
    (folder / "files" / "2025-03-01" / "_SUCCESS").touch()
    return list(find_dated_files(of, folder / "files").files)


def keys_of(store: Store) -> set[str]:
    return {entry.key for entry in store.entries("raw/lines/")}


def test_what_was_landed_before_a_failure_stays_and_the_next_start_goes_on(broken: Faulty, tmp_path: Path) -> None:
    files = shop_files(tmp_path, 20)
    broken.proxy.breaks(Refuse(403, "AccessDenied"), on="2025-03-07/part-1.csv")
    outcomes: dict[DatedFile, landing.Outcome] = {}
    with pytest.raises(LakeError, match=r"2025-03-07/part-1\.csv cannot be used: access is refused"):
        land_all(broken.store, files, outcomes, replace=False, on_progress=lambda _done: None)
    assert 0 < len(outcomes) < 20
    assert {each.key for each in outcomes} == keys_of(broken.store)
    done: list[int] = []
    again: dict[DatedFile, landing.Outcome] = {}
    assert land_all(broken.store, files, again, replace=False, on_progress=done.append) == []
    assert keys_of(broken.store) == {each.key for each in files}
    assert sorted(again.values()) == ["landed"] * (21 - len(outcomes)) + ["unchanged"] * len(outcomes)
    assert max(done) == sum(each.size for each in files)


def test_a_marker_is_landed_only_after_all_data_of_its_load_date(store: Store, tmp_path: Path) -> None:
    files = shop_files(tmp_path, 2)
    put(store, files[0].key, b"receipt\n7\n")
    outcomes: dict[DatedFile, landing.Outcome] = {}
    [problem] = land_all(store, files, outcomes, replace=False, on_progress=lambda _done: None)
    assert "holds other bytes than" in str(problem)
    assert keys_of(store) == {"raw/lines/2025-03-01/part-1.csv", "raw/lines/2025-03-02/part-1.csv"}
    assert land_all(store, files, outcomes, replace=True, on_progress=lambda _done: None) == []
    assert "raw/lines/2025-03-01/_SUCCESS" in keys_of(store)
