"""The addresses of the pages of KPIs, for links in alerts, in mails and in Dagster's UI.

Not here: serving the pages (surface/).
"""

from urllib.parse import quote

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.read.kpi_state import kpi_id, kpi_tables


def kpi_pages(pipeline: Pipeline, serve_url: str | None) -> dict[str, str]:
    """Return the address of the page of each KPI, by `schema.table`; none if nobody said where the pages are."""
    if not serve_url:
        return {}
    return {
        str(table.relation): f"{serve_url.rstrip('/')}/kpi/{quote(kpi_id(pipeline, table))}"
        for table in kpi_tables(pipeline)
    }
