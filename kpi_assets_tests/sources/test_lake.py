"""Objects are put once, read as they were listed, and listed in order: on S3, on Azure and in a folder."""

import itertools
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.settings import Settings, settings
from kpi_assets.sources import lake as lake_module
from kpi_assets.sources.lake import ChangedError, Lake, MissingError, open_lake
from kpi_assets.sources.refusals import LakeError
from kpi_assets_tests.sources import lakes

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with lakes.azurite(tmp_path_factory.mktemp("azurite")) as endpoint:
        yield endpoint


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is not tried again."""
    monkeypatch.setattr(lake_module, "RETRIES", 0)


@pytest.fixture(params=["s3", pytest.param("az", marks=pytest.mark.process), "file"])
def place(
    request: pytest.FixtureRequest, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Settings, str]:
    """The settings and the name of a place of this test only."""
    name = f"obs-{next(_numbers)}"
    if request.param == "s3":
        stack.make_bucket(name)
        return settings(), name
    if request.param == "az":
        endpoint = request.getfixturevalue("blobs")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", lakes.KEY)
        lakes.make_container(endpoint, name)
        return Settings(azure_endpoint_url=endpoint), f"az://{lakes.ACCOUNT}/{name}"
    folder = tmp_path / name
    folder.mkdir()
    return Settings(), f"file://{folder}"


@pytest.fixture
def lake(place: tuple[Settings, str]) -> Lake:
    return open_lake(*place)


def keys(lake: Lake, prefix: str, after: str | None = None) -> list[str]:
    return [entry.key for entry in lake.entries(prefix, after)]


def test_an_object_is_put_once(lake: Lake) -> None:
    assert lake.create("raw/a", b"first")
    assert not lake.create("raw/a", b"second")
    assert lake.get("raw/a") == b"first"


def test_of_writers_at_once_one_is_told_that_it_wrote(lake: Lake) -> None:
    outcomes: list[tuple[bool, bytes]] = []

    def write(body: bytes) -> None:
        outcomes.append((lake.create("raw/a", body), body))

    writers = [threading.Thread(target=write, args=(str(number).encode(),)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    [winner] = [body for has_written, body in outcomes if has_written]
    assert len(outcomes) == 8
    assert lake.get("raw/a") == winner


def test_an_object_is_read_only_as_it_was_listed(lake: Lake) -> None:
    lake.create("raw/a", b"first")
    [entry] = lake.entries("raw/")
    head = lake.head("raw/a")
    assert head is not None
    assert (entry.key, entry.size_bytes, entry.etag.strip('"')) == ("raw/a", 5, head.etag.strip('"'))
    assert (head.key, head.size_bytes) == ("raw/a", 5)
    assert entry.last_modified.replace(microsecond=0) == head.last_modified.replace(microsecond=0)
    assert lake.get("raw/a", entry.etag) == lake.get("raw/a", head.etag) == b"first"
    obstore.put(lake.store, "raw/a", b"other")
    with pytest.raises(ChangedError) as failure:
        lake.get("raw/a", entry.etag)
    url = f"{lake.place.url}/raw/a"
    assert str(failure.value) == (
        f"{url} was replaced after it was listed: objects are immutable, so look who wrote it, and land the right "
        "bytes under another key."
    )


def test_a_store_that_ignores_the_condition_is_found_out(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    get = obstore.get
    monkeypatch.setattr(obstore, "get", lambda store, key, **_: get(store, key))
    lake.create("raw/a", b"first")
    [entry] = lake.entries("raw/")
    assert lake.get("raw/a", entry.etag) == b"first"
    obstore.put(lake.store, "raw/a", b"other")
    with pytest.raises(ChangedError, match="was replaced after it was listed"):
        lake.get("raw/a", entry.etag)


def test_an_object_that_is_not_there(lake: Lake) -> None:
    assert lake.head("raw/nothing") is None
    with pytest.raises(MissingError, match=r"/raw/nothing is not there: land it again, or look who removed it\.$"):
        lake.get("raw/nothing")
    lake.create("raw/a", b"x")
    with pytest.raises(MissingError):
        lake.get("raw", "0")


KEYS = [
    "a-b/x",
    "a/d_2025-01",
    "a/d_2025-02",
    "a/d_2026-01",
    "a/d_2026-01-01/x",
    "a/e",
    "a/ü ß.csv",
    "a/%25 #+&.csv",
    "b",
]


@pytest.mark.parametrize(
    ("prefix", "after", "found"),
    [
        ("", None, sorted(KEYS)),
        ("a", None, sorted(KEYS)[:-1]),
        ("a/", None, sorted(KEYS)[1:-1]),
        ("a/d_2025-", None, ["a/d_2025-01", "a/d_2025-02"]),
        ("a/d_2025-", "a/d_2025-01", ["a/d_2025-02"]),
        ("a/d_2026-01", None, ["a/d_2026-01", "a/d_2026-01-01/x"]),
        ("a/d_2026-01", "a/d_2026-01", ["a/d_2026-01-01/x"]),
        ("a/", "a/d_2026-01", ["a/d_2026-01-01/x", "a/e", "a/ü ß.csv"]),
        ("a/", "z", []),
        ("nothing/", None, []),
    ],
)
def test_keys_are_listed_by_their_beginning_and_in_order(
    lake: Lake, prefix: str, after: str | None, found: list[str]
) -> None:
    for key in KEYS:
        lake.create(key, key.encode())
    listed = keys(lake, prefix, after)
    if lake.place.scheme == "s3" and "/" not in prefix:
        listed.sort()  # SeaweedFS lists what is in a/ before a-b
    assert listed == found
    assert [lake.get(key).decode() for key in found] == found


def test_several_pages_are_listed_and_too_many_are_an_error(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake_module, "PAGE", 10)
    names = [f"many/{number:04}" for number in range(25)]
    for name in names:
        lake.create(name, b"")
    assert keys(lake, "many/") == names
    monkeypatch.setattr(lake_module, "MOST_PAGES", 2)
    with pytest.raises(LakeError) as failure:
        keys(lake, "many/")
    assert str(failure.value) == (
        f"There are more than 20 objects below {lake.place.url}/many/: keep other objects than the pipeline's own "
        "under another prefix."
    )


@pytest.mark.parametrize("key", ["a//b", "a/../b", "./a"])
def test_a_key_that_no_store_of_all_three_could_have_is_refused(lake: Lake, key: str) -> None:
    with pytest.raises(LakeError, match="the parts of a key between its slashes may not be empty"):
        lake.create(key, b"x")


@pytest.mark.usefixtures("at_once")
def test_a_place_that_is_missing_is_an_error_and_not_a_missing_object(place: tuple[Settings, str]) -> None:
    config, name = place
    if name.startswith("file://"):
        lost = open_lake(config, name)
        shutil.rmtree(name.removeprefix("file://"))
        said = f"^There is no folder {lost.place.name}: make it, or correct KPI_LAKE_URL"
    else:
        lost = open_lake(config, f"{name}-nowhere")
        what = "container" if "://" in name else "bucket"
        said = f"^{lost.place.url}/a/? cannot be used: the {what} does not exist: create it, or correct KPI_"
    for attempt in (lambda: lost.get("a"), lambda: lost.head("a"), lambda: keys(lost, "a/")):
        with pytest.raises(LakeError, match=said):
            attempt()


def test_a_folder_that_is_missing_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match=rf"^There is no folder {tmp_path}/none: make it, or correct KPI_LAKE_URL\.$"):
        open_lake(Settings(), f"file://{tmp_path}/none")


def test_a_folder_whose_name_begins_the_prefix_ends_no_listing(lake: Lake) -> None:
    for key in ("a/d/x", "a/d-1/x", "a/d-2", "a/e"):
        lake.create(key, b"x")
    assert keys(lake, "a/d-") == ["a/d-1/x", "a/d-2"]
