"""The addresses of the pages of KPIs, for links in alerts, in mails and in Dagster's UI.

Not here: serving the pages (surface/).
"""

from urllib.parse import quote

from kpi_assets.alerts.message import NO_PAGES, Pages
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.read.kpi_state import kpi_id, kpi_tables


def pages_of(pipeline: Pipeline, serve_url: str | None) -> Pages:
    """Return the addresses of the pages of a pipeline and of its KPIs; none if nobody said where the pages are."""
    if not serve_url:
        return NO_PAGES
    base = serve_url.rstrip("/")
    kpis = {str(table.relation): f"{base}/kpi/{quote(kpi_id(pipeline, table))}" for table in kpi_tables(pipeline)}
    return Pages(f"{base}/pipelines/{quote(pipeline.name)}", kpis)
