"""The page of pipeline.yaml: every word that may stand in the file."""

from kpi_assets.docs.markdown import code, page_of
from kpi_assets.docs.words import Words
from kpi_assets.model.pipeline_config import PipelineConfig

_INTRO = """
A pipeline is a folder below `sql/` that holds the file `pipeline.yaml`. The name of the folder is the name of the
pipeline and of its database. The words below are all that may stand in the file.
"""
_EXAMPLE = """
description: Visits of the web site, one object a day.
bucket: kpi-visits
start_date: 2025-01-01
layers: {raw: raw, stg: staging, marts: marts}
readers: [marts]
"""


def page() -> str:
    """Return the page as Markdown."""
    words = Words(PipelineConfig, {"MinRowsSpec": "checks.md#min_rows"})
    return page_of("pipeline.yaml", _INTRO, code(_EXAMPLE, "yaml"), words.sections())
