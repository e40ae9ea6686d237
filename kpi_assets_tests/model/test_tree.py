"""All errors of a tree are reported at once, each of them once, and any content is read or refused in sentences."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._core.definitions.utils import DISALLOWED_NAMES
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kpi_assets.automation import run_history
from kpi_assets.errors import UserError
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.model.tree import load_pipelines, load_sound
from kpi_assets_tests.examples import examples
from kpi_assets_tests.model.conftest import MART, RAW, YAML, Tree

# Words of pydantic and PyYAML that no error may contain
FOREIGN = (
    "Input should",
    "should match",
    "permitted",
    "Field required",
    "valid dictionary",
    "at least 1 item",
    "Value e",
)
FOREIGN += ("found character", "mapping values", "expected <", "could not find", "constructor for", "type=", "pydantic")

LATEST = MART.replace("raw.things", "raw.shared")
BAD_FILES = {
    # `shop` cannot be built, but each of its files is read.
    "shop/pipeline.yaml": YAML.replace("kpi-shop", "Kpi_Shop").replace("2025-01-01", "2025-13-01") + "automatic: {}\n",
    "shop/raw/things.sql": RAW.replace("owner: team:tests", "owner: tests")
    .replace("type: integer", "type: tinyint")
    .replace("format: csv", "formt: csv"),
    "shop/raw/Boxes.sql": RAW,
    "shop/raw/colours.sql": RAW.replace("raw/things", "raw/colours").replace(
        "{type: text, description: Name.}", "text"
    ),
    "shop/raw/shared.sql": RAW.replace("raw/things", "raw/shared"),
    "shop/marts/sold.sql": MART.replace(
        "min_rows: {at_least: 2}", "not_nul: [name]\n  few: 3\n  odd: {bad_row: select 1}\n  range: {name: [1, 2, 3]}"
    ).replace("where", "where ("),
    "shop/marts/lost.sql": MART.replace("raw.things", "raw.nothing").replace(
        "min_rows: {at_least: 2}",
        "odd: {bad_rows: 'select * from {this} where'}\n  even: {bad_rows: select 5 % 2}\n"
        "  foreign_key: {thing_id: raw.zoo.thing_id}",
    ),
    "shop/marts/untied.sql": MART.replace("where load_date = %(load_date)s", "cross join marts.lost, zoo"),
    "shop/marts/more.sql": MART.replace("raw.things", "marts.lost").replace(
        "    name\n", "    1 as x,\n    1 as thing_id\n"
    ),
    "shop/marts/headless.sql": "select 1",
    "shop/marts/tab.sql": MART.replace("  min_rows", "\tmin_rows"),
    "shop/marts/best.sql": LATEST.replace("checks:", "kpi: {chart: {x: name, y: thing_id}}\nchecks:"),
    "shop/marts/best_latest.sql": LATEST,
    "dagster/pipeline.yaml": YAML,
    "homeless/marts/sold.sql": MART,
    # `zoo` and its files are valid, each by itself.
    "zoo/pipeline.yaml": YAML,
    "zoo/raw/things.sql": RAW,
    "zoo/raw/again.sql": RAW,
    "zoo/marts/a.sql": MART.replace("raw.things", "marts.b").replace(
        "min_rows: {at_least: 2}", "foreign_key: {name: raw.things.nome}"
    ),
    "zoo/marts/b.sql": MART.replace("raw.things", "marts.c"),
    "zoo/marts/c.sql": MART.replace("raw.things", "marts.b"),
    "zoo/marts/d.sql": MART.replace("    name\n", "    string_agg(nome, ',') as name,\n    label\n").replace(
        "checks:", "  label: {type: text, description: Label.}\nchecks:"
    ),
    "zoo/marts/e.sql": MART.replace("    name\n", "    string_agg(name, ',') as name\n"),
    "zoo_kpis/pipeline.yaml": YAML,
}
ALL_ERRORS = Path(__file__).parent / "all_errors.txt"


def test_all_errors_are_reported_at_once_and_each_of_them_once(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "sql")
    for name, text in BAD_FILES.items():
        tree.write(name, text)
    with pytest.raises(ModelError) as caught:
        load_pipelines(tree.root)
    told = [str(error).removeprefix(f"{tree.root}/") for error in caught.value.each]
    assert told == ALL_ERRORS.read_text().splitlines()
    assert caught.value.sentences == [
        *(f"{tree.root}/{sentence}" for sentence in told[:5]),
        f"{len(told) - 5} more of these: `kpi check` shows all.",
    ]


# ---- generated names


def refused(tree: Tree) -> list[str]:
    with pytest.raises(ModelError) as caught:
        load_pipelines(tree.root)
    return [str(error).removeprefix(f"{tree.root}/") for error in caught.value.each]


@pytest.mark.parametrize(("kpi", "beside"), [("sold", "sold_latest"), ("sold_latest", "sold_latest_latest")])
def test_a_file_with_the_name_of_the_latest_view_of_a_kpi_is_refused(tree: Tree, kpi: str, beside: str) -> None:
    tree.write(f"shop/marts/{beside}.sql", MART)
    tree.write(f"shop/marts/{kpi}.sql", MART)
    load_pipelines(tree.root)
    tree.write(f"shop/marts/{kpi}.sql", MART.replace("checks:", "kpi: {chart: {x: name, y: thing_id}}\nchecks:"))
    assert refused(tree) == [
        f"shop/marts/{beside}.sql:1: marts.{beside} is the view that readers of the KPI marts.{kpi} are given: "
        "give this file another name"
    ]


def test_two_tables_whose_builds_would_have_one_name_are_refused(tree: Tree) -> None:
    tree.write("shop/pipeline.yaml", YAML.replace("marts: marts", "marts: marts, marts__a: marts, marts_: marts"))
    tree.write("shop/marts/a__b.sql", MART)
    tree.write("shop/marts__a/b.sql", MART)
    tree.write("shop/marts/_c.sql", MART)
    tree.write("shop/marts_/c.sql", MART)
    assert refused(tree) == [
        "shop/marts_/c.sql:1: shop/marts_/c and shop/marts/_c give the same name to what is made of them "
        "(shop__marts___c): rename one of them",
        "shop/marts__a/b.sql:1: shop/marts__a/b and shop/marts/a__b give the same name to what is made of them "
        "(shop__marts__a__b): rename one of them",
    ]


def test_tables_of_two_pipelines_whose_steps_would_have_one_name_are_refused(tree: Tree) -> None:
    tree.write("shop__raw/pipeline.yaml", YAML)
    tree.write("shop__raw/marts/a.sql", MART[: MART.index("select")] + "select 1 as thing_id, 'x' as name\n")
    tree.write("shop/pipeline.yaml", YAML.replace("raw: raw", "raw: raw, raw__marts: raw"))
    tree.write("shop/raw__marts/a.sql", MART)
    [error] = refused(tree)
    assert error.startswith("shop__raw/marts/a.sql:1: shop__raw/marts/a and shop/raw__marts/a give the same name ")


@pytest.mark.parametrize("what", ["pipeline", "kpis", "recheck", "retention"])
def test_a_pipeline_with_the_name_of_a_job_is_refused(tree: Tree, what: str) -> None:
    tree.write(f"shop_{what}/pipeline.yaml", YAML)
    assert refused(tree) == [
        f"shop_{what}/pipeline.yaml:1: the folder is called like a job of the pipeline 'shop': rename the folder"
    ]


def test_a_pipeline_with_the_name_of_the_job_that_deletes_old_runs_is_refused(tree: Tree) -> None:
    tree.write(f"{run_history.JOB}/pipeline.yaml", YAML)
    assert refused(tree) == [
        "run_history/pipeline.yaml:1: the folder is called like the job that deletes old runs: rename the folder"
    ]


def test_the_files_of_other_pipelines_are_not_read_for_one(tree: Tree) -> None:
    tree.write("other/pipeline.yaml", YAML)
    tree.write("other/raw/things.sql", RAW)
    tree.write("other/raw/more.sql", "select 1")
    assert [[*found] for found in load_sound(tree.root)] == [["shop"], ["other"]]
    sound, broken = load_sound(tree.root, {"shop.raw.things": 1, "other.raw.more": 1}, "shop")
    assert ([*sound], broken) == (["shop"], {})
    assert sound["shop"] == load_sound(tree.root, {"shop.raw.things": 1})[0]["shop"]
    assert [[*found] for found in load_sound(tree.root, only="other")] == [[], ["other"]]
    assert [[*found] for found in load_sound(tree.root, only="nothing")] == [["shop"], ["other"]]
    for name in ("shop.raw.nothing", "other.raw.nothing", "nothing.raw.things", "other"):
        with pytest.raises(UserError, match=f"^KPI_MIN_ROWS names '{name}', which is not a table"):
            load_sound(tree.root, {name: 1}, "shop")


def test_the_names_of_other_pipelines_count_for_one(tree: Tree) -> None:
    tree.write("shop_recheck/pipeline.yaml", YAML)
    assert [[*found] for found in load_sound(tree.root, only="shop_recheck")] == [[], ["shop_recheck"]]


def test_no_job_has_a_name_that_dagster_refuses() -> None:
    taken = {name for name in DISALLOWED_NAMES if Pipeline(name, Path(), None, {}).job == name}  # type: ignore[arg-type]
    assert taken == set()


# ---- paths that are no regular files


@pytest.mark.parametrize("name", ["shop/pipeline.yaml", "shop/marts/sold.sql"])
def test_a_path_that_is_no_regular_file_is_refused_before_it_is_opened(tree: Tree, name: str) -> None:
    """Opening a pipe would block forever, and reading /dev/zero would use all memory."""
    path = tree.root / name
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), os.mkdir):
        path.unlink()
        make(path)
        assert refused(tree) == [f"{name}:1: is not a regular file: put one in its place"]
        if path.is_dir():
            path.rmdir()
            path.touch()
    path.unlink()


@pytest.mark.parametrize("name", ["shop/pipeline.yaml", "shop/marts/sold.sql"])
def test_a_file_of_more_than_a_mebibyte_is_refused(tree: Tree, name: str) -> None:
    text = (tree.root / name).read_text()
    comment = "#{}\n" if name.endswith(".yaml") else "--{}\n"
    fill = (1 << 20) - len(text) - len(comment.format(""))
    tree.write(name, text + comment.format("x" * fill))
    tree.load()
    tree.write(name, text + comment.format("x" * (fill + 1)))
    assert refused(tree) == [f"{name}:1: has 1,048,577 bytes, more than 1,048,576: write less into one file"]


@pytest.mark.parametrize("name", ["shop/more", "shop/marts/more", "zoo"])
def test_a_link_to_a_folder_is_refused(tree: Tree, tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere" / "marts").mkdir(parents=True)
    for file in ("marts/lost.sql", "lost.sql"):
        (tmp_path / "elsewhere" / file).write_text(MART)
    (tree.root / name).symlink_to(tmp_path / "elsewhere")
    expected = f"{name}:1: is a link to a folder, which is not followed: put the folder itself here"
    if name == "zoo":
        expected = "zoo/pipeline.yaml:1: is missing, and files lie in zoo/: write it, or move them"
    assert refused(tree) == [expected]


def test_a_link_to_a_file_is_followed(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.sql").write_text(MART)
    (tree.root / "shop/marts/sold.sql").unlink()
    (tree.root / "shop/marts/sold.sql").symlink_to(tmp_path / "elsewhere.sql")
    assert len(tree.load().tables) == 2


# ---- any content

HEADER = yaml.safe_load(MART[MART.index("\n") : MART.index("@end")])
HEADER |= {
    "lookback": {"days": 7, "rows": "all"},
    "versions": "latest",
    "storage": "rows",
    "kpi": {"chart": {"x": "name", "y": "thing_id", "top": 5}},
    "min_volume": {"column": "thing_id", "at_least": 2},
    "freshness": {"within_hours": 36},
    "checks": {
        "min_rows": {"at_least": 2, "of_previous": 0.5},
        "not_null": ["name"],
        "accepted_values": {"name": ["a", "b"]},
        "range": {"thing_id": [1, None]},
        "unique": {"pair": ["thing_id", "name"]},
        "foreign_key": {"thing_id": "raw.things.thing_id"},
        "reconcile": {"source": "raw.things", "sum": "thing_id", "here": "thing_id", "dropped": {"odd": "name = 'x'"}},
        "own": {"bad_rows": "select * from {this} where name = 'x'", "severity": "warn", "description": "None is x."},
    },
}
CONFIG = yaml.safe_load(YAML) | {
    "start_date": "2025-01-01",
    "automation": {"start": "none", "interval_seconds": 30, "late_after_hours": 6, "rebuild_on_sql_change": True},
    "retention": {"raw": 30},
}
SOURCE = yaml.safe_load(RAW[RAW.index("\n") : RAW.index("@end")])
SOURCE["source"] |= {"ends_with_line_end": "warn", "same_bytes": "warn"}
SELECT = MART[MART.index("select") :].replace("load_date =", "load_date between %(window_start)s and")

# Pieces of SQL that the parser treats specially
SQL = "select from where , ( ) with union join left using (load_date) group by order limit 1 'a' * count(*) {this} over"
SQL += " case not exists lateral unnest values (1) :: -> array[1] interval $1 ? -- /* */ fetch first row only window"
SQL += " on recursive table cast distinct grouping sets t.* raw.t raw.t.a natural E'\\n' $$a$$ ; create into copy"
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.sampled_from(["", "x", "name"]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=12), inside, max_size=3),
    max_leaves=6,
)
names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=50)


def places(value: Any, loc: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of each value in nested dicts and lists."""
    yield loc
    for key, below in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(below, (*loc, key))


def with_value(value: Any, loc: tuple[Any, ...], new: Any, *, as_key: bool) -> Any:
    """Return a copy of `value` with `new` as the value, or as the key, at the place `loc`."""
    if not loc:
        return new
    first, rest = loc[0], loc[1:]
    if isinstance(value, dict):
        key = new if as_key and not rest else first
        below = value[first] if as_key and not rest else with_value(value[first], rest, new, as_key=as_key)
        return {(key if name == first else name): below if name == first else each for name, each in value.items()}
    return [with_value(each, rest, new, as_key=as_key) if n == first else each for n, each in enumerate(value)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def read(folder: Path, **files: str | bytes) -> None:
    """Load a pipeline with these files, and assert that it is read or refused in sentences."""
    shutil.rmtree(folder / "sql", ignore_errors=True)
    tree = Tree(folder / "sql")
    for name, text in files.items():
        tree.write(f"shop/{name}", text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    try:
        load_pipelines(tree.root)
    except UserError as error:
        assert error.sentences
        for sentence in error.sentences:
            assert sentence.startswith(f"{tree.root}/") or "more of these" in sentence
            assert [word for word in FOREIGN if word in sentence] == []


FILES = {"pipeline.yaml": CONFIG, "raw/things.sql": SOURCE, "marts/sold.sql": HEADER}


def written(name: str, words: Any) -> str:
    """Return the text of a file with these words."""
    text = yaml.safe_dump(words, sort_keys=False, allow_unicode=True)
    if name == "pipeline.yaml":
        return text
    return f"/* @asset\n{text}@end */\n" + (SELECT if name.startswith("marts") else "")


PLACES = [(name, loc) for name, words in FILES.items() for loc in places(words)]
quietly = settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_the_unchanged_files_of_these_tests_are_valid(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "sql")
    for name, words in FILES.items():
        tree.write(f"shop/{name}", written(name, words))
    assert [str(relation) for relation in tree.load().tables] == ["raw.things", "marts.sold"]


@quietly
@given(place=st.sampled_from(PLACES), new=anything, as_key=st.booleans())
def test_any_value_or_name_in_any_place_is_read_or_refused_in_sentences(
    folder: Path, place: tuple[str, tuple[Any, ...]], new: Any, *, as_key: bool
) -> None:
    name, loc = place
    new = str(new) if as_key else new
    read(folder, **{name: written(name, with_value(FILES[name], loc, new, as_key=as_key))})


@quietly
@given(
    name=st.sampled_from(list(FILES)),
    at=st.floats(0, 1),
    text=st.text(max_size=20)
    | st.sampled_from("{[\"'|>&*!%@`-:?#")
    | st.lists(st.sampled_from(SQL.split()), max_size=5).map(" ".join),
)
@example(name="pipeline.yaml", at=0, text="[" * 5000)
@example(name="marts/sold.sql", at=1, text="(" * 5000)
@example(name="marts/sold.sql", at=1, text="\0")
@example(name="pipeline.yaml", at=1, text="a: &a [*a]\n")
@example(name="pipeline.yaml", at=1, text=f"a: {'9' * 6000}\n")
@example(name="pipeline.yaml", at=1, text="a: 1e999999999999999999999\n")
@example(name="pipeline.yaml", at=1, text='description: "\\0abcd"\n')
def test_any_text_anywhere_in_a_file_is_read_or_refused_in_sentences(
    folder: Path, name: str, at: float, text: str
) -> None:
    whole = written(name, FILES[name])
    cut = int(at * len(whole))
    read(folder, **{name: whole[:cut] + text + whole[cut:]})


@quietly
@given(name=st.sampled_from(list(FILES)), data=st.binary(max_size=80))
def test_any_bytes_instead_of_a_file_are_refused_in_sentences(folder: Path, name: str, data: bytes) -> None:
    read(folder, **{name: data})


@quietly
@given(
    parts=st.lists(
        names.filter(lambda name: name not in {".", ".."} and len(name.encode()) < 200), min_size=1, max_size=3
    )
)
@example(parts=["marts", "x.sql", "y.sql"])
@example(parts=["marts", "X"])
@example(parts=["marts", "a\nb"])
def test_any_name_of_a_file_is_read_or_refused_in_sentences(folder: Path, parts: list[str]) -> None:
    read(folder, **{"/".join(parts) + ".sql": MART})
