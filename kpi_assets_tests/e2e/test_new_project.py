"""A new project: only the wheel, installed into an empty environment, and what `kpi init` writes."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path

import psycopg
import pytest

from kpi_assets.settings import CHECKOUT
from kpi_assets_tests.cli.command import plain_environment
from kpi_assets_tests.e2e.web import Web
from kpi_assets_tests.machine import PATIENCE, eventually, free_port

UV = Path(sys.executable).with_name("uv")
DAY = "2025-06-01"
KPI_ROWS = """\
page,visits,visitors,avg_seconds
/,3,3,23.0
/blog/first-post,2,2,140.0
/prices,3,3,55.3
/signup,2,2,152.5
"""


class Installation:
    """A virtual environment with the wheel and its dependencies, and a user with an empty HOME."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "venv" / "bin"
        (folder / "home").mkdir()
        # PATH as after `activate`; nothing points at this checkout.
        path = f"{self.programs}:{os.defpath}"
        self.environment = {"HOME": str(folder / "home"), "PATH": path, "DAGSTER_DISABLE_TELEMETRY": "1"}
        source, wheels = folder / "source", folder / "wheels"
        left_out = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "kpi_assets_tests")
        shutil.copytree(CHECKOUT, source, ignore=left_out)
        shutil.copytree(CHECKOUT / "kpi_assets", source / "kpi_assets", dirs_exist_ok=True)  # with its hidden files
        self._uv("build", "--no-build-isolation", "--out-dir", wheels, source, python=sys.executable)
        shutil.rmtree(source)
        self._uv("venv", folder / "venv", python=sys.executable)
        python = str(self.programs / "python")
        self._uv("pip", "install", "--require-hashes", "-r", CHECKOUT / "requirements.lock", python=python)
        self._uv("pip", "install", "--no-deps", *wheels.glob("*.whl"), python=python)

    def _uv(self, *words: object, python: str) -> None:
        environment = {**plain_environment(), "VIRTUAL_ENV": str(Path(sys.prefix))}
        command = [UV, *map(str, words), "--python", python, "--quiet"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def __call__(self, *words: object, cwd: Path, code: int = 0, **environment: str) -> str:
        """Run a program of the environment; return its standard output."""
        command = [self.programs / str(words[0]), *map(str, words[1:])]
        done = subprocess.run(
            command, cwd=cwd, env={**self.environment, **environment}, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    @contextmanager
    def up(self, project: Path) -> Iterator[str]:
        """Start `kpi up` in a project; return the line with the address of the web UI."""
        command = [self.programs / "kpi", "up", "--port", str(free_port())]
        with subprocess.Popen(command, cwd=project, env=self.environment, stdout=subprocess.PIPE, text=True) as served:
            try:
                assert served.stdout is not None
                yield served.stdout.readline()
            finally:
                served.send_signal(signal.SIGINT)
                served.wait(PATIENCE)

    @contextmanager
    def dagster_dev(self, project: Path) -> Iterator[Web]:
        """Start a plain `dagster dev` in a project; return its web UI."""
        port = free_port()
        command = [self.programs / "dagster", "dev", "--port", str(port)]
        with subprocess.Popen(command, cwd=project, env=self.environment, stderr=subprocess.DEVNULL) as served:
            try:
                web = Web(f"http://127.0.0.1:{port}", self.environment)
                eventually(lambda: answers(web.address), every=0.2)
                yield web
            finally:
                served.send_signal(signal.SIGINT)
                served.wait(PATIENCE)


def answers(address: str) -> bool:
    """Return whether a web server answers."""
    try:
        with urllib.request.urlopen(f"{address}/server_info", timeout=5):
            return True
    except OSError:
        return False


@pytest.mark.fast
def test_the_wheel_takes_every_file_of_the_package() -> None:
    """It has the modules of each package, and the other files that pyproject.toml names."""
    package = CHECKOUT / "kpi_assets"
    [text] = re.findall(r"^package-data = (.*)$", (CHECKOUT / "pyproject.toml").read_text(), re.MULTILINE)
    named = {
        Path(CHECKOUT, *name.split("."), found)
        for name, patterns in ast.literal_eval(text.replace('" = [', '": [')).items()
        for pattern in patterns
        for found in glob(pattern, root_dir=Path(CHECKOUT, *name.split(".")), recursive=True)  # noqa: PTH207  as setuptools does, without hidden files
    }
    there = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    modules = {path for path in there if path.suffix == ".py" and path.with_name("__init__.py").exists()}
    assert there - modules - named == set()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("installed"))


@pytest.mark.nightly
def test_the_project_that_init_writes_works_outside_this_repository(installed: Installation, tmp_path: Path) -> None:
    said = installed("kpi", "init", "mine", cwd=tmp_path)
    project = tmp_path / "mine"
    assert "kpi run website --load-date 2025-06-01" in said
    assert (project / ".gitignore").read_text().startswith(".kpi/\n")
    # `kpi init` refuses a folder that is not empty.
    before = sorted(project.rglob("*"))
    installed("kpi", "init", "mine", cwd=tmp_path, code=2)
    assert sorted(project.rglob("*")) == before

    checked = "All files can be read: website.\n6 fixtures passed: website.\n"
    assert installed("kpi", "check", cwd=project) == checked
    with installed.up(project) as line:
        assert line.startswith("http://127.0.0.1:")
        installed("kpi", "land", "website", "--load-date", DAY, "--from", f"samples/{DAY}", cwd=project)
        installed("kpi", "run", "website", "--load-date", DAY, cwd=project)
        shown = installed("kpi", "show", "website", "marts.kpi_visits_by_page", "--format", "csv", cwd=project)
        assert shown.replace("\r\n", "\n") == KPI_ROWS
    installed("dagster", "definitions", "validate", "-w", "workspace.yaml", cwd=project)
    with installed.dagster_dev(project) as web:
        assert web.final_status(web.launch(DAY, pipeline="website")) == "SUCCESS"
        publishes = "select count(*) from ops.publishes where asset = 'marts.kpi_visits_by_page'"
        url = installed("kpi", "url", "website", cwd=project).strip()
        with psycopg.connect(url) as connection:
            assert connection.execute(publishes).fetchall() == [(2,)], "by `kpi run`, and by `dagster dev`"
    eventually(lambda: "running" not in installed("kpi", "status", cwd=project), every=1)


@pytest.mark.nightly
def test_a_difference_from_the_template_is_named_with_its_file(installed: Installation, tmp_path: Path) -> None:
    installed("kpi", "init", ".", cwd=tmp_path)
    case = tmp_path / "fixtures/website/marts/kpi_visits_by_page/plain"
    (case / "expect.csv").write_text("page,visits,visitors,avg_seconds\n/,2,1,37.5\n/about,1,1,\n/prices,3,2,16.5\n")
    (case.parent / "unknown").mkdir()
    (case.parent / "unknown" / "other.csv").write_text("")
    said = installed("kpi", "check", cwd=tmp_path, code=1).splitlines()
    assert said == [
        "All files can be read: website.",
        f"differs: {case}/expect.csv: the row page '/about', visits 1, visitors 1, avg_seconds NULL is not built",
        f"differs: {case}/expect.csv: in the row page '/prices' avg_seconds is 16.0, not 16.5",
        f"differs: {case.parent}/unknown/other.csv: it is not a file of a case: name it <schema>.<table>.csv, "
        "<schema>.<table>@YYYY-MM-DD.csv, object.csv (or .parquet, .csv.gz and so on), object.NAME.csv, expect.csv, "
        "aside.csv, decisions.jsonl or case.yaml",
        "3 differences in 7 fixtures: website.",
    ]
    assert installed("kpi", "check", "--no-fixtures", cwd=tmp_path) == "All files can be read: website.\n"


@pytest.mark.nightly
def test_outside_of_a_project_the_shipped_sql_tree_is_used(installed: Installation, tmp_path: Path) -> None:
    said = installed("kpi", "check", cwd=tmp_path, KPI_HOME=str(tmp_path / "home"))
    assert said == "All files can be read: ecommerce, instacart, realtime, retail, storefront.\n"
    assert not (tmp_path / "home").exists(), "no server was started"
