"""Wrong usage is one sentence and exit code 2, before the command connects to a server."""

import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from kpi_assets.cli.app import app
from kpi_assets.cli.selection import parents_of
from kpi_assets_tests.cli.command import KPI, SQL, CliHarness, Kpi, Output, plain_environment
from kpi_assets_tests.examples import few
from kpi_assets_tests.shipped import PIPELINE

NAMES = ", ".join(parents_of(PIPELINE))
TABLES = ", ".join(name for name in NAMES.split(", ") if not name.startswith("s3."))
RUN = ["run", "instacart", "--load-date"]
PERCENT = "with what is not a letter or digit in the password percent-encoded"

# Name -> the arguments, the environment, and the sentence.
WRONG: dict[str, tuple[list[str], dict[str, str], str]] = {
    "an unknown pipeline": (
        ["run", "shop", "--load-date", "2025-06-01"],
        {},
        f"error: There is no pipeline 'shop' in {SQL}: there is ecommerce, instacart, realtime, retail, storefront.",
    ),
    "a load_date before the first": (
        [*RUN, "2024-12-31"],
        {},
        "error: instacart has no load_date 2024-12-31: its first is 2025-01-01 "
        f"(start_date in {SQL}/instacart/pipeline.yaml).",
    ),
    "a load_date in the future": (
        [*RUN, "2999-01-01"],
        {},
        "error: The load_date 2999-01-01 lies in the future: today is ",
    ),
    "an unknown asset": (
        [*RUN, "2025-06-01", "--select", "marts.nonsense"],
        {},
        f"error: instacart has no 'marts.nonsense': it has {NAMES}.",
    ),
    "an unknown table": (
        ["show", "instacart", "marts.nonsense"],
        {},
        f"error: instacart has no table 'marts.nonsense': it has {TABLES}.",
    ),
    "an empty range": (
        ["backfill", "instacart", "--from", "2025-06-02", "--to", "2025-06-01"],
        {},
        "error: The range from 2025-06-02 to 2025-06-01 is empty: give the earlier date first.",
    ),
    "a date that does not exist": (
        [*RUN, "2025-02-30"],
        {},
        "Error: Invalid value for '--load-date' (env var: 'RUN_DATE'): '2025-02-30' is not a date: "
        "write it as YYYY-MM-DD",
    ),
    "a RUN_DATE that is no date": (
        RUN[:-1],
        {"RUN_DATE": "today"},
        "Error: Invalid value for '--load-date' (env var: 'RUN_DATE'): 'today' is not a date: write it as YYYY-MM-DD",
    ),
    "no load_date": (RUN[:-1], {}, "Error: Missing option '--load-date' (env var: 'RUN_DATE')."),
    "no end of a range": (
        ["backfill", "instacart", "--from", "2025-06-01"],
        {},
        "Error: Missing option '--to'.",
    ),
    "an unknown option": ([*RUN, "2025-06-01", "--nonsense"], {}, "Error: No such option: --nonsense"),
    "a server's URL with a password that is not encoded": (
        [*RUN, "2025-06-01"],
        {"KPI_POSTGRES_URL": "postgresql://kpi:se@same@127.0.0.1/postgres"},
        "error: The setting KPI_POSTGRES_URL cannot be read (write postgresql://user:password@host:port/database, "
        f"{PERCENT}): correct it in the environment.",
    ),
    "a setting that is no JSON": (
        [*RUN, "2025-06-01"],
        {"KPI_MIN_ROWS": "many"},
        "error: The setting KPI_MIN_ROWS cannot be read (it must be JSON): correct it in the environment.",
    ),
    "minimum rows of an unknown table": (
        [*RUN, "2025-06-01"],
        {"KPI_MIN_ROWS": '{"instacart.raw.nonsense": 3}'},
        "error: KPI_MIN_ROWS names 'instacart.raw.nonsense', which is not a table: write pipeline.schema.table.",
    ),
    "a tree without a pipeline": (
        [*RUN, "2025-06-01"],
        {"KPI_SQL_DIR": "/nowhere"},
        "error: No pipeline lies below /nowhere: KPI_SQL_DIR must name a folder with */pipeline.yaml.",
    ),
}


@pytest.fixture(scope="module")
def nowhere(kpi: CliHarness) -> Kpi:
    """The command with settings that name servers that do not exist: a call that connects would exit with 1."""
    return Kpi(
        kpi.home,
        kpi.folder,
        KPI_POSTGRES_URL="postgresql://kpi:sesame@127.0.0.1:1/postgres",
        KPI_S3_ENDPOINT_URL="http://127.0.0.1:1",
    )


@pytest.fixture(scope="module")
def answers(nowhere: Kpi) -> Mapping[str, Output]:
    """The output of each wrong call."""

    def call(name: str) -> Output:
        words, environment, _ = WRONG[name]
        return nowhere(*words, code=2, **environment)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(WRONG, pool.map(call, WRONG), strict=True))


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_is_one_sentence(answers: Mapping[str, Output], name: str) -> None:
    _, _, sentence = WRONG[name]
    said = answers[name]
    *before, last = said.err.splitlines()
    assert last.startswith(sentence)
    assert before == [] or before[0].startswith("Usage: kpi ")
    assert said.out == ""
    assert "same@" not in said.err, "no part of a password is shown"


def test_a_stack_trace_is_shown_when_asked_for(nowhere: Kpi) -> None:
    said = nowhere("--debug", *WRONG["an unknown pipeline"][0], code=2)
    assert said.err.startswith("Traceback (most recent call last)")
    assert said.err.endswith(f"{WRONG['an unknown pipeline'][2]}\n")


@pytest.mark.parametrize("name", ["", *sorted(get_command(app).commands)])  # type: ignore[attr-defined]
def test_no_sentence_of_the_help_is_cut(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"] if name else ["--help"], env={"COLUMNS": "80"}).output
    assert max(map(len, shown.splitlines())) <= 80
    assert "...\n" not in shown.partition("\n")[2]
    if not name:
        told = " ".join(shown.split())
        docs = [" ".join(command.help.split()) for command in get_command(app).commands.values()]  # type: ignore[attr-defined]
        assert [doc for doc in docs if doc not in told] == []


def test_faults_are_listed_without_a_load_date_or_a_folder(nowhere: Kpi) -> None:
    listed = nowhere("sample", "instacart", "--fault", "list").out
    assert "duplicate_line" in listed
    for words, missing in ((["--out", "x"], "--load-date"), (["--load-date", "2025-06-01"], "--out")):
        nowhere.fails(f"Give {missing} too, or only --fault list.", "sample", "instacart", *words, code=2)


def test_help_names_every_command(nowhere: Kpi) -> None:
    lines = nowhere.process("--help").out.partition("Commands:")[2].splitlines()
    listed = [line.split()[0] for line in lines if line.strip()]
    assert {*listed} >= {
        "quarantine",
        "up",
        "down",
        "status",
        "sample",
        "land",
        "run",
        "backfill",
        "show",
        "checks",
        "recheck",
        "url",
    }


def imported_by(*words: str) -> set[str]:
    """Return the packages that a command has imported when it ends."""
    call = f"sys.argv[1:] = {list(words)!r}; from kpi_assets.cli import main"
    script = f"import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); {call}; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    return {name.partition(".")[0] for name in done.stderr.split()}


def test_help_is_printed_before_any_slow_import() -> None:
    slow = {"dagster", "boto3", "botocore", "psycopg", "sqlglot", "pandas", "numpy", "pydantic", "yaml"}
    for words in (["--help"], ["--version"], []):
        found = imported_by(*words)
        assert "typer" in found
        assert not found & slow, words
    assert "dagster" in imported_by("run", "--help")


def test_what_kpi_up_needs_imports_no_dagster() -> None:
    assert "dagster" not in imported_by("up", "--help")
    assert "dagster" not in imported_by("serve", "--host", "0.0.0.0")


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"kpi_assets {metadata.version('kpi_assets')}\n"


@pytest.mark.parametrize(
    ("words", "completed"),
    few(
        2,
        [
            ("kpi back", ["backfill"]),
            ("kpi url inst", ["instacart"]),
            ("kpi show inst", ["instacart"]),
            ("kpi check x", []),
            ("kpi show instacart raw.orders --lim", ["--limit"]),
        ],
    ),
)
def test_a_shell_completes_commands_pipelines_and_options(words: str, completed: list[str]) -> None:
    shell = {"_KPI_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [KPI], env={**plain_environment(), **shell}, cwd=SQL.parent, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == completed


@pytest.mark.parametrize(
    ("words", "code"),
    few(
        2,
        [
            (["sample", "instacart", "--fault", "list"], 0),
            (["--help"], 0),
            (["show", "nope", "marts.x"], 2),
            (["run", "instacart"], 2),
            (["status"], 1),
        ],
    ),
)
def test_a_forked_call_prints_the_same_as_a_process(nowhere: Kpi, words: list[str], code: int) -> None:
    """Most tests of commands call a fork; its output must be the one that a shell shows."""
    assert nowhere(*words, code=code) == nowhere.process(*words, code=code)
