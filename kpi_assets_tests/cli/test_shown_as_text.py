"""Names and values are shown as text: nothing in them is markup or steers the terminal."""

import io
import unicodedata
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console

from kpi_assets.cli.terminal import grid, grid_of_rows, say, styled
from kpi_assets.printable import printable, strict_json
from kpi_assets_tests.cli import small
from kpi_assets_tests.cli.command import CliHarness, Kpi, Output

NASTY = "[bold]b[/] [/] [link=x] :warning: \x1b[31mred \x07\x9b1m \x7f\u202e\\ end"
SHOWN = "[bold]b[/] [/] [link=x] :warning: \\x1b[31mred \\x07\\x9b1m \\x7f\\u202e\\ end"
DAY = date(2025, 5, 4)
# Two rows have the same key: the check of the grain holds the load_date and shows the rows.
DOUBLED = f'thing_id,name,weight\n1,"{NASTY}",1.00\n1,"{NASTY}",2.00\n'.encode()


def steering(text: str) -> list[str]:
    """Return the control characters of a text, without line ends."""
    return [letter for letter in text if letter != "\n" and unicodedata.category(letter) in {"Cc", "Cf", "Cs"}]


def plain(said: Output) -> Output:
    assert steering(said.out + said.err) == []
    return said


@pytest.fixture(scope="module")
def nowhere(kpi: CliHarness) -> Kpi:
    return Kpi(kpi.home, kpi.folder, **kpi.servers)


def test_names_of_a_folder_and_its_files_are_escaped(kpi: CliHarness, tmp_path: Path) -> None:
    folder = tmp_path / NASTY.replace("/", "_")
    folder.mkdir()
    (folder / "aisles.csv").write_bytes(b"aisle_id,aisle\n1,tea\n")
    said = plain(kpi("land", "instacart", "--load-date", "2025-01-04", "--from", folder))
    assert f"{tmp_path}/{SHOWN.replace('/', '_')}/orders.csv is not there" in said.out
    empty = folder / "empty"
    empty.mkdir()
    said = plain(kpi("land", "instacart", "--load-date", "2025-01-04", "--from", empty, code=2))
    assert f"The folder {tmp_path}/{SHOWN.replace('/', '_')}/empty holds none of instacart's files" in said.err


@pytest.mark.nightly
def test_names_of_the_home_and_of_the_sql_tree_are_escaped(nowhere: Kpi, tmp_path: Path) -> None:
    home = tmp_path / NASTY.replace("/", "_")
    nowhere("bootstrap")  # creates the database that `kpi status` reads
    said = plain(nowhere("status", KPI_HOME=str(home)))
    place = f"Processes of the home {tmp_path}/{SHOWN.replace('/', '_')}"
    assert "".join(place.split()) in "".join(said.out.split())
    said = plain(nowhere("status", code=2, KPI_SQL_DIR=f"/nowhere/{NASTY}"))
    assert said.err.startswith(f"error: No pipeline lies below /nowhere/{SHOWN}: KPI_SQL_DIR must name a folder")


@pytest.mark.parametrize(
    "words",
    [
        ("show", NASTY, "raw.things"),
        ("show", "instacart", NASTY),
        ("run", "instacart", "--load-date", NASTY),
        ("run", "instacart", "--load-date", "2025-05-01", "--select", NASTY),
        (NASTY,),
        ("plan", "instacart", NASTY),
        ("show", "instacart", "raw.orders", "--format", NASTY),
    ],
)
def test_arguments_of_the_command_line_are_escaped(nowhere: Kpi, words: tuple[str, ...]) -> None:
    said = plain(nowhere(*words, code=2))
    assert "[bold]b[/] [/] [link=x] :warning: \\x1b[31mred \\x07" in said.err


def test_an_unknown_option_is_escaped(nowhere: Kpi) -> None:
    said = plain(nowhere("run", f"--{NASTY.replace('=', '')}", code=2))
    assert said.err.endswith(f"Error: No such option: --{SHOWN.replace('=', '')}\n")


@pytest.fixture(scope="module")
def held(kpi: CliHarness, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Output]:
    """A held load_date with such values."""
    sql = small.write_sql(tmp_path_factory.mktemp("shown") / "sql")
    small.upload(kpi, DAY, DOUBLED)
    return sql, kpi("run", small.NAME, "--load-date", DAY, code=3, KPI_SQL_DIR=str(sql))


def test_values_in_the_bad_rows_of_a_check_are_escaped(kpi: CliHarness, held: tuple[Path, Output]) -> None:
    sql, said = held
    plain(said)
    assert said.line("held raw.things:").startswith("held raw.things: held by grain")
    for word in ("checks", "alerts"):
        options = ("--load-date", DAY) if word == "checks" else ()
        plain(kpi(word, small.NAME, *options, KPI_SQL_DIR=str(sql)))


@pytest.mark.nightly
def test_values_of_a_table_and_of_an_error_are_escaped(kpi: CliHarness, held: tuple[Path, Output]) -> None:
    sql, _ = held
    day = date(2025, 5, 5)
    small.upload(kpi, day, DOUBLED.replace(b"\n1,", b"\n2,", 1))
    kpi("run", small.NAME, "--load-date", day, KPI_SQL_DIR=str(sql))
    said = plain(kpi("show", small.NAME, "raw.things", "--load-date", day, KPI_SQL_DIR=str(sql)))
    assert said.out.replace("\n", "").count(SHOWN) == 2
    small.upload(kpi, day, f'thing_id,name,weight\n1,x,"{NASTY}"\n'.encode())
    said = plain(kpi("run", small.NAME, "--load-date", day, code=3, KPI_SQL_DIR=str(sql)))
    assert ":warning: " in said.out


COLUMNS, VALUES = ("customer_id", "first_name", "note"), ("C1", "Ann", "a long note about nothing at all")


def drawn_rows(width: int) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=width)
    console.print(grid_of_rows("", COLUMNS, [VALUES, ("C2", None, "x")], console=console))
    assert isinstance(console.file, io.StringIO)
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    return [line for line in lines if line]


def test_a_narrow_terminal_breaks_values_and_no_names_of_columns() -> None:
    assert drawn_rows(80)[0] == [*COLUMNS]
    assert drawn_rows(80)[2:] == [["C1", "Ann", *VALUES[2].split()], ["C2", "x"]]
    assert drawn_rows(45)[0] == [*COLUMNS]
    assert "".join(word for line in drawn_rows(45)[2:-1] for word in line[2 if "C1" in line else 0 :]) == (
        VALUES[2].replace(" ", "")
    )


def test_where_the_names_of_the_columns_do_not_fit_each_value_has_a_line() -> None:
    drawn = drawn_rows(30)
    assert drawn[0] == ["column", "value"]
    assert drawn[2:4] == [["customer_id", "C1"], ["first_name", "Ann"]]
    assert drawn[-3:] == [["customer_id", "C2"], ["first_name"], ["note", "x"]]


def test_on_a_terminal_only_what_is_styled_has_colors() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, color_system="standard", width=200, markup=False, emoji=False)
    say(styled("done", "green"), " ", NASTY, console=console)
    assert screen.getvalue() == f"\x1b[32mdone\x1b[0m {SHOWN}\n"
    screen.truncate(0)
    console.print(grid(NASTY, [NASTY], [[NASTY], [styled(NASTY, "green")], [None]]))
    drawn = screen.getvalue()
    assert drawn.count(SHOWN) == 4
    assert drawn.count("\x1b[32m") == 1
    assert "\x1b[31m" not in drawn


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\udcff", r"\udcff"),
        ("\u2028\u2066\u061c", r"\u2028\u2066\u061c"),
        ("ä 中 👩\u200d💻", "ä 中 👩\u200d💻"),
        (None, "None"),
    ],
)
def test_characters_that_steer_a_terminal_are_escaped(value: object, shown: str) -> None:
    assert printable(value) == shown


def test_strict_json_writes_nothing_that_json_does_not_have() -> None:
    value = {"a": [float("nan"), (float("inf"), -float("inf"))], "b": date(2025, 1, 1), "c": "\x9b\n"}
    assert strict_json(value) == '{"a": ["NaN", ["Infinity", "-Infinity"]], "b": "2025-01-01", "c": "\\u009b\\n"}'
