"""A pipeline whose files cannot be read is reported, and the others go on."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from kpi_assets.assets.resources import plain_s3
from kpi_assets.definitions import build_defs
from kpi_assets.instance.starters import starters
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.model.tree import load_pipelines, load_sound
from kpi_assets.settings import settings
from kpi_assets_tests.cli.small import write_sql
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML, RAW_THINGS

WRONG = "is not a known column type"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A sql tree with the small pipeline, and with another one in which a type is missing."""
    write_sql(tmp_path)
    (tmp_path / "other" / "raw").mkdir(parents=True)
    (tmp_path / "other" / "pipeline.yaml").write_text(PIPELINE_YAML.format(bucket="kpi-other"))
    (tmp_path / "other" / "raw" / "things.sql").write_text(RAW_THINGS.replace("type: text", "type: words"))
    monkeypatch.setenv("KPI_SQL_DIR", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    settings.cache_clear()


def sensor(defs: dg.Definitions, name: str) -> dg.SensorDefinition:
    found = defs.resolve_sensor_def(name)
    assert isinstance(found, dg.SensorDefinition)
    return found


def test_the_others_are_loaded_and_its_sensor_says_what_is_wrong(tree: Path) -> None:
    defs = build_defs({"s3": plain_s3})
    tables = {str(key.to_user_string()) for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert tables == {"small/s3/things", "small/raw/things", "small/marts/things"}
    names = {each.name for each in defs.sensors or []}
    assert names == {"small_sensor", "other_sensor", "alerts"}
    with pytest.raises(dg.Failure, match=WRONG) as told:
        sensor(defs, "other_sensor").evaluate_tick(dg.build_sensor_context())
    assert str(tree / "other" / "raw" / "things.sql") in str(told.value)


@pytest.mark.parametrize(
    ("words", "on"), [("", False), ("automation: {start: sensor}\n", True), ("nonsense: 1\n", True)]
)
def test_a_broken_pipeline_is_watched_if_its_automation_is_on_or_unknown(tree: Path, words: str, on: bool) -> None:
    """The failing sensor of the broken pipeline is watched, so that it becomes an incident."""
    path = tree / "other" / "pipeline.yaml"
    path.write_text(path.read_text() + words)
    sound, broken = load_sound(tree)
    assert ([*sound], [*broken]) == (["small"], ["other"])
    [found] = [each for each in starters(list(sound.values()), broken.values()) if each.name == "other_sensor"]
    assert (found.declared, found.pipeline) == (on, None)
    assert sensor(build_defs({"s3": plain_s3}), "other_sensor").default_status == (
        dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED
    )


def test_loading_the_whole_tree_is_refused(tree: Path) -> None:
    with pytest.raises(ModelError, match=WRONG) as told:
        load_pipelines(tree)
    assert str(told.value) == str(load_sound(tree)[1]["other"].error)
