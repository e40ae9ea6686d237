"""The README is true and short: its links lead somewhere, and its example is a KPI."""

import re
import shutil
from pathlib import Path

from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import CHECKOUT

README = (CHECKOUT / "README.md").read_text()
TUTORIAL = (CHECKOUT / "docs" / "tutorial.md").read_text()
LONGEST = 150  # lines


def new_kpi(page: str = README) -> tuple[str, str]:
    """Return the path of the example below `sql/`, and its text."""
    [name] = re.findall(r"Save this as `sql/(\S+)`", page)
    [text] = re.findall(r"```sql\n(/\* @asset.*?)```", page, re.DOTALL)
    return name, text


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= LONGEST


def test_its_links_lead_to_files_of_the_project_and_to_every_guide_and_reference_page() -> None:
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", README)]
    assert [link for link in links if not (CHECKOUT / link).is_file()] == []
    docs = CHECKOUT / "docs"
    pages = {
        str(path.relative_to(CHECKOUT)) for folder in ("guides", "reference") for path in (docs / folder).glob("*")
    }
    assert pages - set(links) == set()


def test_the_example_is_a_kpi(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "sql", tmp_path / "sql")
    name, text = new_kpi()
    (tmp_path / "sql" / name).write_text(text)
    table = load_pipelines(tmp_path / "sql")["instacart"].table("marts.kpi_orders_by_hour")
    assert [check.name for check in table.checks] == ["grain", "min_rows", "range__order_hour_of_day", "reconcile"]
    assert [str(relation) for relation in table.reads] == ["marts.fact_orders"]


def test_the_tutorial_adds_the_same_kpi() -> None:
    assert new_kpi(TUTORIAL) == new_kpi()
