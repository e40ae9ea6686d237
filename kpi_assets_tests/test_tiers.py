"""What makes the tests fast does not change what they prove: copied databases, and tiers."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kpi_assets.materialize.prepare import prepare
from kpi_assets_tests import tiers
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import PipelineHarness

ACCESS = """
select 'database', datname = current_database(), datacl::text from pg_database where datname = current_database()
union all select nspname, true, nspacl::text from pg_namespace where nspname in ('raw', 'stg', 'marts', 'ops', 'builds')
union all select relname, true, relacl::text from pg_class where relnamespace = 'ops'::regnamespace
union all select defaclnamespace::regnamespace::text || defaclrole::regrole::text, true, defaclacl::text
from pg_default_acl
order by 1, 3
"""


def test_a_copied_database_has_the_same_rights_as_one_that_was_prepared(lab: PipelineHarness) -> None:
    def access() -> list[tuple[Any, ...]]:
        return lab.rows(ACCESS)

    lab.prepared()
    copied = access()
    prepare(lab.pipeline(), lab.server)
    assert access() == copied
    lab.in_postgres(f"drop database {lab.name} with (force)")
    prepare(lab.pipeline(), lab.server)
    assert access() == copied
    assert len(copied) > 20


def test_the_shared_server_does_not_wait_for_the_disk(lab: PipelineHarness) -> None:
    shown = lab.in_postgres("select setting from pg_settings where name in ('fsync', 'synchronous_commit')")
    assert shown == [("off",), ("off",)]


def test_of_few_cases_the_others_are_nightly() -> None:
    cases = few(2, [1, (2, 3), pytest.param(4, id="four"), 5])
    assert [case.values for case in cases] == [(1,), (2, 3), (4,), (5,)]
    assert [[mark.name for mark in case.marks] for case in cases] == [[], ["nightly"], [], ["nightly"]]


def test_a_fast_test_that_starts_a_process_fails(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("fast")
    with pytest.raises(pytest.fail.Exception, match="is of the tier `fast` and started"):
        subprocess.run([sys.executable, "-c", ""], check=True)


@pytest.mark.parametrize(
    ("name", "tier"),
    [
        ("model/test_query.py", "fast"),
        ("cli/test_show.py", "process"),
        ("test_bench.py", "nightly"),
        ("materialize/test_killed.py", "server"),
    ],
)
def test_the_tier_follows_from_folder_fixtures_and_marks(name: str, tier: str) -> None:
    item = SimpleNamespace(
        nodeid=f"kpi_assets_tests/{name}::test_x",
        fixturenames=["stack"] if tier == "server" else [],
        get_closest_marker=lambda asked: tier == asked == "nightly" or None,
    )
    assert tiers.tier(item) == tier  # type: ignore[arg-type]


def test_a_file_runs_on_one_worker_and_files_that_share_servers_on_the_same() -> None:
    def group(file: str) -> str:
        return tiers.group(f"kpi_assets_tests/{file}::test_x[a/b::c]")

    assert group("model/test_query.py") == "model/test_query.py"
    assert group("test_docs.py") == "test_docs.py"
    assert {group(f"e2e/{file}") for file in tiers.TOGETHER["e2e"]} == {"e2e"}
    assert group("e2e/test_odd_launches.py") == "e2e/test_odd_launches.py"
    assert all((Path(tiers.__file__).parent / name).exists() for name in tiers.LONGEST_FIRST), "a file was renamed"
    assert all(
        (Path(tiers.__file__).parent / folder / file).exists()
        for folder in tiers.TOGETHER
        for file in tiers.TOGETHER[folder]
    )
