"""Which tier a test is of, in what order and on which worker tests run, and what holds a fast test to its word.

Belongs here: the rules, from the folder of a test and the fixtures that it uses. Not here: the tests; a file or a test
says itself only that it is `nightly`, or that it is `process` where neither folder nor fixture shows it.

  fast     no server and no other process: the logic alone.
  server   on the servers that all tests of a worker share.
  process  starts processes or servers of its own: commands, `kpi up`, what is killed.
  nightly  long, or of the machine's speed: `make nightly`, not `make test`.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

TIERS = ("fast", "server", "process", "nightly")
# Folders whose tests start processes: what is in them is `process` unless a file says otherwise.
OF_PROCESSES = ("cli", "deploy", "e2e", "embedded", "simulators", "supply_chain")
SHARED_SERVERS = "stack"  # the fixture that starts them
# Files that share what takes long to start: one worker runs them all. Each other file may run on any.
TOGETHER = {
    "e2e": ("test_attacks.py", "test_browser.py", "test_held.py", "test_web.py"),
    "deploy": ("test_roles.py", "test_services.py"),
}
# What takes longest is begun first, so that no worker ends with it alone. Seconds need not be right, only their order.
LONGEST_FIRST: Sequence[str] = (
    "e2e",
    "deploy",
    "e2e/test_first_weeks.py",
    "e2e/test_new_project.py",
    "e2e/test_browser_decisions.py",
    "e2e/test_your_files.py",
    "e2e/test_odd_launches.py",
    "test_storefront_oracle.py",
    "warehouse/test_quarantine.py",
    "sql/test_fixtures.py",
    "cli/test_demo_stream.py",
    "cli/test_demo_week.py",
    "cli/test_demo_days.py",
    "cli/test_bad_data.py",
    "instance/test_killed.py",
    "automation/test_lookback.py",
    "automation/test_held_partitions_stay_out.py",
    "materialize/test_content.py",
    "materialize/test_slices.py",
    "materialize/test_lost_server.py",
    "materialize/test_killed.py",
)


def parts(nodeid: str) -> tuple[str, ...]:
    """The folders and the file of a test below kpi_assets_tests."""
    names = PurePath(nodeid.partition("::")[0]).parts
    return names[names.index("kpi_assets_tests") + 1 :] if "kpi_assets_tests" in names else names


def has_none_fast(path: PurePath) -> bool:
    """Whether a folder is one of processes."""
    return path.parent.name == "kpi_assets_tests" and path.name in OF_PROCESSES


def tier(item: pytest.Item) -> str:
    """The tier of a test."""
    for name in ("nightly", "process", "fast"):
        if item.get_closest_marker(name):
            return name
    if parts(item.nodeid)[0] in OF_PROCESSES:
        return "process"
    return "server" if SHARED_SERVERS in getattr(item, "fixturenames", ()) else "fast"


def group(nodeid: str) -> str:
    """Tests of one group run on one worker, one after another."""
    folder, *rest = parts(nodeid)
    return folder if rest and rest[-1] in TOGETHER.get(folder, ()) else "/".join([folder, *rest])


class Groups(LoadScopeScheduling):
    """Gives workers one group after another, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def arrange(items: list[pytest.Item]) -> None:
    """Put the longest groups first; within a group nothing is moved."""
    rank = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(group(item.nodeid), len(rank)))


class _Watch:
    """Hears what Python tells of processes that are started; an audit hook cannot be taken off again."""

    watched: str | None = None

    def __init__(self) -> None:
        sys.addaudithook(self._hear)

    def _hear(self, event: str, words: tuple[Any, ...]) -> None:
        if self.watched is not None and event == "subprocess.Popen":
            pytest.fail(f"{self.watched} is of the tier `fast` and started {words[0]}: mark it `process`", pytrace=True)


_watch = _Watch()


@contextmanager
def without_processes(item: pytest.Item) -> Iterator[None]:
    """Fail a fast test that starts a process, and so every server."""
    _watch.watched = item.nodeid if item.get_closest_marker("fast") else None
    try:
        yield
    finally:
        _watch.watched = None
