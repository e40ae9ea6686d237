"""`kpi stream` chooses the streams to land before any server starts; what it lands is tested in stream/."""

import shutil
from pathlib import Path

from kpi_assets_tests.cli.command import SQL, Kpi


def tree(folder: Path, **copies: str) -> Kpi:
    """Return the command on a tree of copies of shipped pipelines."""
    for name, shipped in copies.items():
        shutil.copytree(SQL / shipped, folder / "sql" / name)
    return Kpi(folder / "home", folder, KPI_SQL_DIR=str(folder / "sql"))


def test_without_a_name_the_only_pipeline_with_streams_is_meant(tmp_path: Path) -> None:
    kpi = tree(tmp_path, realtime="realtime", instacart="instacart")
    known = "clicks, inventory_events, order_events"
    kpi.fails(f"realtime has no stream 'sales': it has {known}.", "stream", "--only", "sales", code=2)
    assert not kpi.home.exists()


def test_of_several_pipelines_with_streams_one_is_to_be_named(tmp_path: Path) -> None:
    kpi = tree(tmp_path, realtime="realtime", again="realtime")
    sentence = "Several pipelines have streams: name one of again, realtime, in a process each."
    kpi.fails(sentence, "stream", code=2)


def test_where_no_pipeline_has_streams_nothing_is_landed(tmp_path: Path) -> None:
    kpi = tree(tmp_path, instacart="instacart")
    kpi.fails("No pipeline has streams: no raw table has the word source.stream.", "stream", code=2)
    kpi.fails("instacart has no streams: no raw table has the word source.stream.", "stream", "instacart", code=2)
