"""`kpi sample` writes the objects of streams, and sends their events to the embedded broker."""

import gzip
from collections import Counter
from pathlib import Path

import pytest

from kpi_assets.samples.realtime.world import STREAMS
from kpi_assets_tests.cli.command import CliHarness


def test_the_objects_of_streams_are_written(kpi: CliHarness, tmp_path: Path) -> None:
    words = ["--load-date", "2026-03-01", "--days", 2, "--events", 600, "--fault", "repeats=0.1"]
    said = kpi("sample", "realtime", *words, "--out", tmp_path)
    events: Counter[str] = Counter()
    for path in tmp_path.rglob("*.ndjson.gz"):
        events[path.relative_to(tmp_path).parts[1]] += gzip.decompress(path.read_bytes()).count(b"\n") - 1
    assert {*events} == {*STREAMS}
    assert 1250 < events.total() < 1400
    counts = said.out.partition("repeats=0.1 planted: ")[2].removesuffix(".\n").split(", ")
    assert sorted(counts) == sorted(f"{name} {count:,}" for name, count in events.items())


def test_a_pipeline_without_streams_sends_nothing(kpi: CliHarness) -> None:
    sentence = "instacart has no streams that are simulated: leave --rate out."
    kpi.fails(sentence, "sample", "instacart", "--rate", 10, code=2)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--rate", 0], "0 events a second cannot be made: ask for more than 0 and up to 100,000."),
        (["--rate", 1, "--pace", 0.5], "A pace of 0.5 cannot be made: ask for 1 to 10,000."),
        (["--rate", 1, "--seed", -1], "The seed -1 is negative: choose 0 or more."),
    ],
)
def test_what_cannot_be_sent_is_refused_before_servers_start(
    kpi: CliHarness, words: list[object], problem: str
) -> None:
    kpi.fails(problem, "sample", "realtime", *words)
