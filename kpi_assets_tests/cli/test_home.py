"""The home: which one a command works in, and that nothing in it is open to others."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kpi_assets.embedded.home import Home
from kpi_assets.embedded.stack import status, stop
from kpi_assets.instance import folder
from kpi_assets.settings import settings
from kpi_assets_tests.cli import small
from kpi_assets_tests.cli.command import CliHarness, Kpi
from kpi_assets_tests.cli.conftest import Published
from kpi_assets_tests.modes import CLOSED, open_to_others
from kpi_assets_tests.pipeline_harness import GOOD

DAY = "2025-06-01"


class Shell:
    """A shell in some folder, without a setting that names the home."""

    def __init__(self, kpi: Kpi) -> None:
        self.kpi = kpi
        kpi.environment.pop("KPI_HOME")

    def at(self, folder: Path) -> Kpi:
        self.kpi.folder = folder
        return self.kpi


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with two files to land, and a second project inside of it."""
    folder = tmp_path_factory.mktemp("projects")
    project = folder / "project"
    for root in (project, project / "inner"):
        small.write_sql(root / "sql")
        (root / "sql" / small.NAME / "deep").mkdir()
    (project / "day").mkdir()
    (project / "day" / "things.csv").write_text(GOOD.decode())
    (folder / "link").symlink_to(project / "day")
    yield folder
    for root in (project, project / "inner"):
        stop(root / ".kpi")
    shutil.rmtree(folder)


@pytest.fixture
def shell(projects: Path) -> Shell:
    return Shell(Kpi(projects / "unused", projects))


def home_of(said: str) -> str:
    return said.split("Processes of the home ")[1].splitlines()[0]


def test_a_subfolder_has_the_home_and_the_tree_of_the_project_above_it(projects: Path, shell: Shell) -> None:
    project = projects / "project"
    landed = shell.at(project / "sql" / small.NAME / "deep")(
        "land", small.NAME, "--load-date", DAY, "--from", project / "day"
    )
    assert landed.line("landed").startswith("landed s3://")
    again = shell.at(projects / "link")("land", small.NAME, "--load-date", DAY, "--from", ".")
    assert again.line("unchanged").startswith("unchanged s3://"), "a symbolic link leads to the same project"
    assert list(projects.rglob(".kpi")) == [project / ".kpi"]
    assert home_of(shell.at(project / "day")("status").out) == str(project / ".kpi")


@pytest.mark.nightly
def test_the_nearest_of_two_projects_is_used(projects: Path, shell: Shell) -> None:
    inner = projects / "project" / "inner"
    said = shell.at(inner / "sql")("plan", small.NAME)
    assert said.out.endswith(
        f"Nothing of {small.NAME} has landed yet in the home {inner}/.kpi: kpi sample, kpi land.\n"
    )


@pytest.mark.parametrize("words", [["status"], ["down"], ["run", small.NAME, "--load-date", DAY], ["doctor"], ["up"]])
def test_outside_of_a_project_a_command_asks_for_one(projects: Path, shell: Shell, words: list[str]) -> None:
    shell.at(projects).fails(
        f"Neither {projects} nor a folder above it is a project, which holds sql/<pipeline>/pipeline.yaml: go into "
        "one, or set KPI_HOME to the folder that data, credentials and logs are to lie in.",
        *words,
        code=2,
    )
    assert not (projects / ".kpi").exists()


@pytest.mark.nightly
def test_kpi_home_is_used_in_any_folder(projects: Path, shell: Shell) -> None:
    said = shell.at(projects)("status", KPI_HOME="here/../elsewhere", KPI_SQL_DIR="project/sql")
    assert home_of(said.out) == str(projects / "elsewhere")
    assert f"{small.NAME}: load_dates by layer" in said.out
    stop(projects / "elsewhere")


@pytest.mark.parametrize("words", [["run", small.NAME, "--load-date", DAY], ["up"]], ids=" ".join)
def test_a_folder_with_other_files_is_not_made_a_home(projects: Path, shell: Shell, words: list[str]) -> None:
    folder = projects / "project"
    before = sorted(folder.iterdir())
    shell.kpi.environment["KPI_HOME"] = "."
    shell.at(folder).fails(
        f"The folder {folder} is not a home of kpi_assets and holds other files ('day'): set KPI_HOME to a new or an "
        "empty folder.",
        *words,
        code=2,
    )
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("words", [["doctor"], ["status"]])
def test_an_empty_home_is_refused(projects: Path, shell: Shell, words: list[str]) -> None:
    shell.kpi.environment["KPI_HOME"] = ""
    shell.at(projects / "project").fails(
        "The setting KPI_HOME cannot be read (it is empty: name a folder, or leave the setting out): correct it in the "
        "environment.",
        *words,
        code=2,
    )


@pytest.mark.parametrize("there", [(), (".bashrc", "lost+found"), ("notes.txt", "dagster")])
def test_an_empty_folder_or_an_existing_home_is_accepted(tmp_path: Path, there: tuple[str, ...]) -> None:
    for name in there:
        (tmp_path / name).mkdir()
    Home(tmp_path).create()
    assert {path.name for path in tmp_path.iterdir()} == {*there, "run", "logs", "s3-data"}


def test_a_missing_folder_to_land_from_is_an_error(projects: Path, shell: Shell) -> None:
    shell.at(projects / "project").fails(
        f"The folder {projects}/nowhere does not exist: name another with --from.",
        *("land", small.NAME, "--load-date", DAY, "--from", projects / "nowhere"),
        code=2,
    )


# ---- what others may read


@pytest.fixture
def _open_umask() -> Iterator[None]:
    old = os.umask(0)
    yield
    os.umask(old)


@pytest.mark.nightly
@pytest.mark.usefixtures("_open_umask")
def test_nothing_in_a_home_is_open_to_others(projects: Path, shell: Shell) -> None:
    """With any umask, this is true of data, logs and what Dagster writes for a run."""
    home = projects / "umask"
    kpi = shell.at(projects / "project")
    environment = {"KPI_HOME": str(home), "KPI_SQL_DIR": str(projects / "project" / "sql")}
    kpi("land", small.NAME, "--load-date", DAY, "--from", "day", **environment)
    kpi("run", small.NAME, "--load-date", DAY, **environment)
    said = kpi("run", small.NAME, "--load-date", "2025-06-02", code=1, **environment)
    assert said.line("looked for") == f"The objects were looked for in the home {home}."
    kpi("doctor", **environment)
    made = {"dagster", "logs", "postgres", "run", "s3-conf", "s3-data", "credentials.json"}
    assert {path.name for path in home.iterdir()} >= made
    assert open_to_others(home) == CLOSED
    assert [server.running for server in status(home)] == [False, False]


@pytest.mark.nightly
@pytest.mark.usefixtures("_open_umask")
def test_nothing_in_a_home_without_embedded_servers_is_open_to_others(
    kpi: CliHarness, published: Published, tmp_path: Path
) -> None:
    own = Kpi(tmp_path / "own", tmp_path, kpi.secrets, **kpi.servers)
    own("run", "instacart", "--load-date", published.day, "--select", "s3.aisles", KPI_S3_BUCKET="kpi-instacart")
    own("doctor", KPI_S3_BUCKET="kpi-instacart")
    assert [path.name for path in own.home.iterdir()] == ["dagster"]
    assert {path.name for path in (own.home / "dagster").iterdir()} >= {"dagster.yaml", "storage"}
    assert open_to_others(own.home) == CLOSED


@pytest.mark.usefixtures("_open_umask")
def test_a_home_that_was_open_is_closed_and_the_command_says_so(
    kpi: CliHarness, published: Published, tmp_path: Path
) -> None:
    own = Kpi(tmp_path / "own", tmp_path, kpi.secrets, **kpi.servers, KPI_S3_BUCKET="kpi-instacart")
    for name in ("dagster", "logs", "somebody-elses"):
        (own.home / name).mkdir(parents=True)
    said = own("doctor")
    assert f"Others could read dagster, logs in {own.home}, and no longer can." in said.err
    assert open_to_others(own.home) == {".": "0o777", "somebody-elses": "0o777"}
    assert "Others could" not in own("doctor").err


@pytest.mark.usefixtures("_open_umask")
def test_files_outside_of_the_home_have_the_mode_that_the_umask_gives(kpi: CliHarness, tmp_path: Path) -> None:
    kpi.process("sample", "instacart", "--load-date", DAY, "--orders", 10, "--out", tmp_path / "out")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {0o666}


def test_the_services_of_kpi_up_get_its_home_and_its_sql_tree(projects: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The services run in folders of their own, where they would find another project, or none."""
    for name in ("KPI_HOME", "KPI_SQL_DIR"):
        monkeypatch.setenv(name, "")  # so that monkeypatch restores it
        monkeypatch.delenv(name)
    monkeypatch.chdir(projects / "project" / "day")
    settings.cache_clear()
    try:
        found = folder.environment(settings())
    finally:
        settings.cache_clear()
    told = {name: found[name] for name in ("KPI_HOME", "KPI_SQL_DIR")}
    assert told == {"KPI_HOME": str(projects / "project" / ".kpi"), "KPI_SQL_DIR": str(projects / "project" / "sql")}
