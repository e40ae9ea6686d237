"""The pages in docs/ say only what is true: their commands, files, settings and examples are there."""

import re
import shlex
import shutil
from pathlib import Path
from textwrap import dedent

import pytest
from typer.main import get_command

from kpi_assets.cli.app import app
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import CHECKOUT, Settings
from kpi_assets_tests.test_readme import new_kpi

PAGES = {path.name: path.read_text() for path in (CHECKOUT / "docs").glob("*.md")}
README = (CHECKOUT / "README.md").read_text()

MADE = {"deploy/secrets", "deploy/images.yaml"}  # by scripts beside them


def commands(text: str) -> list[list[str]]:
    """Each `kpi …` of a page, as words: lines of code, and words between backticks."""
    code = (
        "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)) + "\n" + "\n".join(re.findall(r"`([^`\n]+)`", text))
    )
    found = re.findall(r"(?<![\w./-])kpi (?!\w+:)([a-z][^\n|)\"]*)", code)
    return [shlex.split(line, comments=True) for line in found]


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_command_is_one_and_has_its_options(page: str) -> None:
    known = get_command(app).commands  # type: ignore[attr-defined]
    looked_at = 0
    for name, *words in commands(PAGES[page]):
        assert name in known, (page, name)
        options = {option for parameter in known[name].params for option in parameter.opts}
        said = [word.partition("=")[0] for word in words if word.startswith("-")]
        assert [option for option in said if option not in options] == [], (page, name)
        looked_at += 1
    assert looked_at > 5


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_file_and_setting_that_is_named_is_there(page: str) -> None:
    text = PAGES[page]
    for name in re.findall(r"(?<![\w/])((?:deploy|docs|kpi_assets|kpi_assets_tests)/[\w./-]*\w)", text):
        made = name in MADE or name.startswith("deploy/secrets") or "kpi_orders_by_hour" in name
        assert (CHECKOUT / name).exists() or made, (page, name)
    settings = {f"KPI_{name.upper()}" for name in Settings.model_fields}
    for name in re.findall(r"\bKPI_[A-Z0-9_]*[A-Z0-9]", text):
        assert name.partition("__")[0] in {*settings, "KPI_HOME"}, (page, name)


def test_the_readme_leads_to_every_page() -> None:
    assert set(re.findall(r"\(docs/(\w+\.md)\)", README)) == set(PAGES)


def test_every_guarantee_names_a_test_that_is_there() -> None:
    named = re.findall(r"`((?:\w+/)?test_\w+\.py)::(test_\w+)` \|$", PAGES["guarantees.md"], re.MULTILINE)
    rows = re.findall(r"^\| (?!situation|---)", PAGES["guarantees.md"], re.MULTILINE)
    assert len(named) == len(rows) > 30
    for file, test in named:
        assert f"\ndef {test}(" in (CHECKOUT / "kpi_assets_tests" / file).read_text(), (file, test)


def test_the_pipeline_of_the_page_loads_and_its_check_is_one(tmp_path: Path) -> None:
    text = PAGES["authoring.md"]
    [config] = re.findall(r"```yaml\n( +description: .*?)```", text, re.DOTALL)
    [table] = re.findall(r"```sql\n( +/\* @asset.*?)```", text, re.DOTALL)
    [checks] = re.findall(r"```yaml\nchecks:\n(.*?)```", text, re.DOTALL)
    folder = tmp_path / "visits"
    (folder / "raw").mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(dedent(config))
    (folder / "raw" / "visits.sql").write_text(dedent(table))
    assert [str(name) for name in load_pipelines(tmp_path)["visits"].tables] == ["raw.visits"]

    _, kpi = new_kpi()
    before, _, after = kpi.partition("checks:\n  range:\n    order_hour_of_day: [0, 23]\n")
    marts = tmp_path / "instacart"
    shutil.copytree(CHECKOUT / "sql" / "instacart", marts)
    (marts / "marts" / "kpi_orders_by_hour.sql").write_text(f"{before}checks:\n{checks}{after}")
    made = load_pipelines(tmp_path)["instacart"].table("marts.kpi_orders_by_hour").checks
    assert [check.name for check in made if check.name == "no_hour_has_all_orders" and not check.blocking] != []
