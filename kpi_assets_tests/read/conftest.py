"""The shop whose KPI has measures: with its servers, and as files alone."""

from collections.abc import Iterator

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_pipelines
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML, RAW_THINGS
from kpi_assets_tests.read.kpi_shop import KPI, KpiShop
from kpi_assets_tests.two_source_pipeline import RAW_LABELS, WEIGHED

CHECKS = """\
checks:
  reconcile: {source: raw.things, dropped: {unweighed: weight is null}}
  unique: {weights: [weight]}
  no_anvils: {bad_rows: "select * from {this} where thing_id = 1", description: No anvil.}
@end"""


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The files of the shop, with another KPI and more checks."""
    folder = tmp_path_factory.mktemp("files") / "shop"
    files = {
        "pipeline.yaml": PIPELINE_YAML.format(bucket="kpi-shop"),
        "raw/things.sql": RAW_THINGS,
        "raw/labels.sql": RAW_LABELS,
        "marts/weighed.sql": WEIGHED.replace("@end", CHECKS),
        "marts/heavy.sql": KPI,
        "marts/light.sql": KPI.replace("kpi:\n", "kpi:\n  title: What is light\n"),
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return load_pipelines(folder.parent)["shop"]


@pytest.fixture(scope="module")
def open_kpi_shop(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KpiShop]:
    """The shop that the tests of one module share."""
    with KpiShop.open(stack, tmp_path_factory.mktemp("shop")) as opened:
        assert isinstance(opened, KpiShop)
        opened.stock().prepared()
        yield opened


@pytest.fixture
def kpi_shop(open_kpi_shop: KpiShop) -> Iterator[KpiShop]:
    """The shop with load_dates that no other test sees, of which the first one is the first there is."""
    yield open_kpi_shop.stock()
    with open_kpi_shop.session() as session:
        session.execute("update ops.publishes set removed_at = now(), superseded_at = coalesce(superseded_at, now())")
        session.execute("update ops.pipeline_runs set status = 'success'")
        session.execute("delete from ops.alert_deliveries")
        session.execute("delete from ops.alerts")
