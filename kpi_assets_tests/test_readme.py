"""The README says only what is true: its settings, commands, words and example are those of the code."""

import re
import shutil
from pathlib import Path

from typer.main import get_command

from kpi_assets.cli.app import app
from kpi_assets.model.automation import Automation
from kpi_assets.model.checks.words import WORDS
from kpi_assets.model.header import Header
from kpi_assets.model.tree import load_pipelines
from kpi_assets.plan.status import STATES
from kpi_assets.settings import CHECKOUT, Settings

README = (CHECKOUT / "README.md").read_text()


def _section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def new_kpi() -> tuple[str, str]:
    """The example's path below `sql/`, and its text."""
    [name] = re.findall(r"Save this as `sql/(\S+)`", README)
    [text] = re.findall(r"```sql\n(/\* @asset.*?)```", README, re.DOTALL)
    return name, text


def test_the_table_of_settings_is_complete() -> None:
    told = set(re.findall(r"^\| `(KPI_[A-Z0-9_]+?)(?:__<PIPELINE>)?` \|", _section("Settings"), re.MULTILINE))
    assert told == {f"KPI_{name.upper()}" for name in Settings.model_fields}


def test_the_table_of_commands_is_complete() -> None:
    told = set(re.findall(r"`kpi (\w+)", _section("Commands")))
    assert told == set(get_command(app).commands) - {"demo"}  # type: ignore[attr-defined]


def test_the_words_of_a_header_are_those_of_the_code() -> None:
    tour = _section("Five minutes")
    words, checks = tour.split("| header word |")[1].split("| check word |")
    told = {word for row in re.findall(r"^\| (`.*?) \|", words, re.MULTILINE) for word in re.findall(r"`(\w+)`", row)}
    assert told == set(Header.model_fields)
    assert set(re.findall(r"^\| `(\w+):", checks, re.MULTILINE)) == {*WORDS, "any_name"}


def test_the_words_of_automation_and_their_defaults_are_those_of_the_code() -> None:
    words = _section("Five minutes").split("| word | default |")[1]
    told = dict(re.findall(r"^\| `(\w+)` \| `?([\w.]+)`? \|", words, re.MULTILINE))
    defaults = Automation().model_dump()
    assert told == {name: str(value).lower() for name, value in defaults.items()}


def test_the_states_of_the_plan_are_those_of_the_code() -> None:
    states = _section("Five minutes").split("| state |")[1].split("| word |")[0]
    told = [
        state for row in re.findall(r"^\| (`.*?) \|", states, re.MULTILINE) for state in re.findall(r"`(\w+)`", row)
    ]
    assert sorted(told) == sorted(STATES)


def test_the_example_is_a_kpi(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "sql", tmp_path / "sql")
    name, text = new_kpi()
    (tmp_path / "sql" / name).write_text(text)
    table = load_pipelines(tmp_path / "sql")["instacart"].table("marts.kpi_orders_by_hour")
    assert [check.name for check in table.checks] == ["grain", "min_rows", "range__order_hour_of_day", "reconcile"]
    assert [str(relation) for relation in table.reads] == ["marts.fact_orders"]
