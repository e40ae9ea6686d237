"""The docs are true: their commands, files, settings, words and examples exist, and the reference fits the code."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo
from typer.core import TyperGroup

from kpi_assets.cli.ask import option_of
from kpi_assets.docs import cli, header, settings
from kpi_assets.docs.__main__ import main
from kpi_assets.docs.ops_schema import relations
from kpi_assets.docs.pages import PAGES, differences, write
from kpi_assets.model.checks.custom import CustomCheck
from kpi_assets.model.checks.declared import Checks
from kpi_assets.model.checks.words import WORDS
from kpi_assets.model.header import Header
from kpi_assets.model.pipeline_config import PipelineConfig
from kpi_assets.model.quality import CheckCount, dimension_scores, rounded, table_score
from kpi_assets.model.strict_yaml import Strict
from kpi_assets.model.tree import load_pipelines
from kpi_assets.plan.status import STATES
from kpi_assets.settings import CHECKOUT, Settings
from kpi_assets_tests import shipped
from kpi_assets_tests.test_readme import new_kpi

DOCS = CHECKOUT / "docs"
FILES = [*DOCS.rglob("*.md"), *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))]
TEXTS = {str(path.relative_to(CHECKOUT)): path.read_text() for path in sorted(FILES)}
MADE = {"deploy/.env", "deploy/secrets", "deploy/images.yaml"}  # scripts and a person make them


def commands(text: str) -> list[list[str]]:
    """Return each `kpi …` of a page as words: lines of code, and text between backticks."""
    fenced = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
    blocks = [block for language, block in fenced.findall(text) if language in {"", "sh", "text"}]
    code = "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", fenced.sub("", text))])
    found = re.findall(r"(?<![\w./-])kpi (?!\w+:)([a-z][^\n|)\"`]*)", code)
    return [shlex.split(line, comments=True) for line in found]


def wrong_words(name: str, words: list[str]) -> list[str]:
    """Return the words that are no command or no option of the command."""
    known = cli.commands()
    if name not in known:
        return [name]
    command = known[name]
    if isinstance(command, TyperGroup):
        if not words or words[0] not in command.commands:
            return words[:1]
        command = command.commands[words[0]]
    options = {option for parameter in command.params for option in parameter.opts}
    if name == "ask":
        named = [each.questions.get(word) for each in shipped.PIPELINES.values() for word in words]
        options |= {option_of(parameter) for each in named if each for parameter in each.header.parameters}
    said = [word.partition("=")[0] for word in words if word.startswith("-")]
    return [option for option in said if option not in options]


@pytest.mark.parametrize("page", TEXTS)
def test_every_command_of_the_pages_exists_with_its_options(page: str) -> None:
    found = [(name, wrong) for name, *words in commands(TEXTS[page]) if (wrong := wrong_words(name, words))]
    assert found == []


def test_the_commands_of_the_pages_are_found() -> None:
    counts = {page: len(commands(text)) for page, text in TEXTS.items()}
    assert counts["README.md"] >= 6
    assert counts["docs/tutorial.md"] >= 12
    assert counts["docs/guides/runbook.md"] >= 30
    assert wrong_words("no_such_command", []) == ["no_such_command"]
    assert wrong_words("quarantine", ["lists", "instacart"]) == ["lists"]
    assert wrong_words("quarantine", ["list", "instacart", "--of", "raw.orders"]) == ["--of"]
    assert wrong_words("run", ["instacart", "--load-dates", "2025-07-01"]) == ["--load-dates"]
    assert wrong_words("ask", ["instacart", "small_baskets_by_weekday", "--at-most", "5"]) == []
    assert wrong_words("ask", ["instacart", "small_baskets_by_weekday", "--at-least", "5"]) == ["--at-least"]


@pytest.mark.parametrize("page", TEXTS)
def test_every_make_target_of_the_pages_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", TEXTS[page], re.MULTILINE))
    assert named - targets == set()


@pytest.mark.parametrize("page", TEXTS)
def test_every_file_and_setting_of_the_pages_exists(page: str) -> None:
    text = TEXTS[page]
    for name in re.findall(r"(?<![\w/])((?:deploy|docs|kpi_assets|kpi_assets_tests)/[\w./-]*\w)", text):
        made = name in MADE or name.startswith("deploy/secrets") or "kpi_orders_by_hour" in name
        is_test = page == "docs/guarantees.md" and (CHECKOUT / "kpi_assets_tests" / name).exists()
        assert (CHECKOUT / name).exists() or made or is_test, (page, name)
    known = {f"KPI_{name.upper()}" for name in Settings.model_fields}
    for name in re.findall(r"\bKPI_[A-Z0-9_]*[A-Z0-9]", text):
        assert name.partition("__")[0] in known, (page, name)


def test_the_navigation_names_every_page() -> None:
    named = set(re.findall(r": (\S+\.md)$", (CHECKOUT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert named == {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}


def test_every_guarantee_names_a_test_that_exists() -> None:
    page = TEXTS["docs/guarantees.md"]
    named = re.findall(r"`((?:\w+/)*test_\w+\.py)::(test_\w+)` \|$", page, re.MULTILINE)
    rows = re.findall(r"^\| (?!situation|---)", page, re.MULTILINE)
    assert len(named) == len(rows) > 30
    for file, test in named:
        assert f"\ndef {test}(" in (CHECKOUT / "kpi_assets_tests" / file).read_text(), (file, test)


NIGHTLY = re.compile(r"^@pytest\.mark\.nightly\n(?:[@ )\]].*\n)*def (test_\w+)\(", re.MULTILINE)
ALL_NIGHTLY = re.compile(r"^pytestmark = (?:\[\s*)?pytest\.mark\.nightly", re.MULTILINE)


def is_nightly(file: str, test: str) -> bool:
    """Return whether all cases of a test are of `make nightly`."""
    text = (CHECKOUT / "kpi_assets_tests" / file).read_text()
    return bool(ALL_NIGHTLY.search(text)) or test in NIGHTLY.findall(text)


def test_a_guarantee_that_only_nightly_tests_prove_says_so() -> None:
    rows = re.findall(
        r"^(\| .*\| `((?:\w+/)*test_\w+\.py)::(test_\w+)` \|)$", TEXTS["docs/guarantees.md"], re.MULTILINE
    )
    assert [row for row, file, test in rows if is_nightly(file, test) and "`make nightly`" not in row] == []


def test_the_states_of_the_plan_are_those_of_the_code() -> None:
    states = TEXTS["docs/guides/automation.md"].split("| state |")[1].split("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", states, re.MULTILINE)) == sorted(STATES)


def test_the_packages_of_the_architecture_are_those_of_the_code() -> None:
    packages = TEXTS["docs/architecture.md"].split("| package |")[1].split("\n\n")[0]
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", packages, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    there = {path.parent.name for path in (CHECKOUT / "kpi_assets").glob("*/__init__.py")}
    assert there - named == set()
    assert named - there == {"definitions", "settings", "errors"}


def test_the_pipeline_and_the_check_of_the_authoring_guide_load(tmp_path: Path) -> None:
    text = TEXTS["docs/guides/authoring.md"]
    [config] = re.findall(r"```yaml\n( +description: .*?)```", text, re.DOTALL)
    [table] = re.findall(r"```sql\n( +/\* @asset.*?)```", text, re.DOTALL)
    checks, _ = re.findall(r"```yaml\nchecks:\n(.*?)```", text, re.DOTALL)
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


def test_the_tables_of_the_authoring_guide_that_warn_and_have_a_score_load(tmp_path: Path) -> None:
    text = TEXTS["docs/guides/authoring.md"].split("### Checks that only warn")[1].split("\n### Rows set aside")[0]
    [warned] = re.findall(r"```yaml\n(checks:.*?)```", text, re.DOTALL)
    [scored] = re.findall(r"```sql\n(/\* @asset.*?)```", text, re.DOTALL)
    more = "  phone: {type: text, description: Phone.}\n  discount: {type: integer, description: Percent.}\n"
    folder = tmp_path / "storefront"
    (folder / "staging").mkdir(parents=True)
    (folder / "staging" / "customers.sql").write_text(scored)
    other = scored[: scored.index("checks:")].replace("/customers.csv", "/others.csv")
    (folder / "staging" / "others.sql").write_text(f"{other}{more}{warned}@end */\n")
    yaml = "description: A shop.\nbucket: kpi-shop\nstart_date: 2025-01-01\nlayers: {staging: raw}\n"
    (folder / "pipeline.yaml").write_text(yaml)
    tables = load_pipelines(tmp_path)["storefront"]
    assert [(check.name, check.blocking) for check in tables.table("staging.others").checks][-4:] == [
        *(("min_rows", True), ("not_null", False), ("range__discount", True), ("quality", True)),
    ]
    assert [check.name for check in tables.table("staging.customers").checks if not check.blocking] == [
        *("not_seen_before", "not_null", "range__age", "unique__customer"),
    ]
    [shown] = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    counts = [("not_null", "completeness", 30, 1000), ("grain", "uniqueness", 0, 1000)]
    counts += [("unique__customer", "uniqueness", 40, 1000), ("quarantine", "validity", 10, 1010)]
    counts += [("range__age", "validity", 100, 1000)]
    scores = dimension_scores(CheckCount(*count) for count in counts)
    assert {name: rounded(score) for name, score in scores.items()} == {
        name: score for name, score in shown["dimensions"].items() if score is not None
    }
    assert rounded(table_score(scores)) == shown["score"] == shown["tables"][0]["score"]


# The generated pages.


def test_the_table_of_the_authoring_guide_that_carries_on_does(tmp_path: Path) -> None:
    text = (CHECKOUT / "docs" / "guides" / "authoring.md").read_text().split("### A table that carries on")[1]
    [table] = re.findall(r"```sql\n(/\* @asset.*?)```", text.split("\n### ")[0], re.DOTALL)
    orders = table.replace("Every user who ever ordered.", "Orders.").partition("columns:")[0] + (
        "source: {object: 'orders/{load_date}.csv', format: csv}\ncolumns:\n"
        "  user_id: {type: bigint, description: User.}\n  order_date: {type: date, description: Day.}\n@end */\n"
    )
    folder = tmp_path / "shop"
    for schema, name, content in (("staging", "orders", orders), ("marts", "dim_user", table)):
        (folder / schema).mkdir(parents=True)
        (folder / schema / f"{name}.sql").write_text(content)
    yaml = "description: A shop.\nbucket: kpi-shop\nstart_date: 2025-01-01\nlayers: {staging: raw, marts: marts}\n"
    (folder / "pipeline.yaml").write_text(yaml + "retention: {marts.dim_user: 90}\n")
    assert load_pipelines(tmp_path)["shop"].table("marts.dim_user").carries_on


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield a model and the models of its fields, at any depth."""
    yield model
    for field in model.model_fields.values():
        for each in _models_in(field.annotation):
            yield from models(each)


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [each for part in getattr(annotation, "__args__", ()) for each in _models_in(part)]


FIELDS: dict[str, FieldInfo] = {
    f"{model.__name__}.{name}": field
    for root in (Header, PipelineConfig)
    for model in models(root)
    for name, field in model.model_fields.items()
    if (model, name) != (Checks, "custom")  # the field of custom checks, which is no word of the header
}


@pytest.mark.parametrize("name", FIELDS)
def test_every_word_has_a_description_and_its_examples_can_be_read(name: str) -> None:
    field = FIELDS[name]
    word = field.alias or name.partition(".")[2]
    of_model = " ".join(model.__doc__ or "" for model in _models_in(field.annotation))
    assert (field.description or of_model).rstrip().endswith((".", "`"))
    for example in field.examples or []:
        fields = {name.partition(".")[2]: (field.annotation, field)}
        alone = create_model("Alone", __base__=Strict, **fields)  # type: ignore[call-overload]
        # YAML 1.1 reads these keys as other values.
        words = {True: "on" if word == "on" else "true", False: "false", None: "null"}
        given = {words.get(key, key): value for key, value in yaml.safe_load(str(example)).items()}
        assert list(given) == [word]
        if word == "start_date":  # YAML 1.1 reads a date where our parser reads a text
            given = {word: str(given[word])}
        alone.model_validate(given)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_a_description(name: str) -> None:
    assert (Settings.model_fields[name].description or "").endswith(".")


def test_every_table_and_column_of_ops_has_a_description() -> None:
    found = relations()
    assert [name for name, each in found.items() if not each.description] == []
    lacking = {(name, column) for name, each in found.items() for column in each.types if not each.columns.get(column)}
    assert lacking == set()
    assert found["publishes"].types["columns"] == "jsonb"  # a later migration added the column
    assert found["pipeline_runs"].types["execution_seconds"] == "numeric(12, 3)"
    assert set(found["publishes"].types) - set(found["published"].types) == {
        "superseded_at",
        "dropped_at",
        "removed_at",
        "cause",
        "caused_by",
        "differences",
        "restores",
        "erasure",
    }


def test_the_generated_pages_are_up_to_date() -> None:
    assert differences(DOCS / "reference") == []


def test_an_edited_page_is_a_difference_until_it_is_generated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [path.name for path in write(tmp_path)] == list(PAGES)
    assert write(tmp_path) == []
    page = tmp_path / "settings.md"
    page.write_text(page.read_text().replace("`KPI_WRITERS`", "`KPI_READERS`"))
    monkeypatch.setattr("sys.argv", ["docs", "--check", str(tmp_path)])
    assert main() == 1
    printed = capsys.readouterr().out
    assert "-| `KPI_READERS` |" in printed
    assert "+| `KPI_WRITERS` |" in printed
    assert printed.endswith("run `python -m kpi_assets.docs` and commit what it writes.\n")
    monkeypatch.setattr("sys.argv", ["docs", str(tmp_path)])
    assert main() == 0
    monkeypatch.setattr("sys.argv", ["docs", "--check", str(tmp_path)])
    assert main() == 0


def test_the_pages_have_every_word_command_option_and_setting() -> None:
    assert re.findall(r"^## `(\w+)`$", header.page(), re.MULTILINE) == list(Header.model_fields)
    words = PAGES["checks.md"]().split("## Checks of your own")
    assert re.findall(r"^### `(\w+)`$", words[0], re.MULTILINE) == list(WORDS)
    own = [field.alias or name for name, field in CustomCheck.model_fields.items()]
    assert re.findall(r"^### `(\w+)`$", words[1], re.MULTILINE) == own
    page = cli.page()
    assert re.findall(r"^## `kpi (\w+)`$", page, re.MULTILINE) == list(cli.commands())
    for name, command in cli.commands().items():
        section = page.split(f"## `kpi {name}`")[1].split("\n## ")[0]
        inner = command.commands if isinstance(command, TyperGroup) else {}
        assert re.findall(rf"^### `kpi {name} (\w+)`$", section, re.MULTILINE) == list(inner)
        parameters = [parameter for each in inner.values() or [command] for parameter in each.params]
        for option in (option for parameter in parameters for option in parameter.opts if option.startswith("-")):
            assert f"`{option}`" in section, (name, option)
    variables = re.findall(r"^\| `(KPI_[A-Z0-9_]+?)(?:__PIPELINE)?` \|", settings.page(), re.MULTILINE)
    assert variables == [f"KPI_{name.upper()}" for name in Settings.model_fields]


def test_the_page_of_checks_names_those_that_every_table_has() -> None:
    given = re.findall(r"^\| ([a-zA-Z ]+) \| `(\w+)` \|", PAGES["checks.md"](), re.MULTILINE)
    of_object, raw = "the object of a raw table", "a raw table"
    assert [name for what, name in given if what == of_object] == [
        "exists",
        "not_empty",
        "header",
        "ends_with_line_end",
    ]
    assert {name for what, name in given if what == raw} >= {"rows_accounted", "quarantine", "grain", "min_rows"}
