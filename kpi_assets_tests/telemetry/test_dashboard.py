"""The dashboard, the guide and the instruments name the same metrics, and each of them is what is exported."""

import json
import re
from typing import Any

from kpi_assets.settings import CHECKOUT
from kpi_assets.surface.numbers import Numbers
from kpi_assets.telemetry.instruments import OF_THE_LEDGER, OF_WORK, Instrument

DASHBOARD = json.loads((CHECKOUT / "deploy/grafana/kpi_assets.json").read_text())
GUIDE = (CHECKOUT / "docs/guides/telemetry.md").read_text()
METRICS = {each.prometheus: each for each in (*OF_THE_LEDGER, *OF_WORK)}
PARTS = ("_bucket", "_count", "_sum")  # of a histogram
BY_PROMETHEUS = {"le"}  # the label of a bucket


def series(instrument: Instrument) -> set[str]:
    """Return the names of an instrument's series in Prometheus."""
    name = instrument.prometheus
    return {name + part for part in PARTS} if instrument.kind == "histogram" else {name}


def of_serve() -> set[str]:
    """Return the names that `kpi serve` counts its requests under."""
    numbers = Numbers()
    numbers.count("/", 200, 0.1)
    return set(re.findall(r"^(kpi_serve_\w+)", numbers.text(0), re.MULTILINE))


def expressions() -> list[str]:
    """Return every query of the dashboard."""
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [*queries, *(each["definition"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query")]


def test_every_metric_of_the_dashboard_is_exported_and_every_exported_one_is_shown() -> None:
    exported = {name for each in METRICS.values() for name in series(each)} | of_serve()
    used = {name for query in expressions() for name in re.findall(r"\bkpi_\w+", query)}
    assert used - exported == set()
    assert [name for name, each in METRICS.items() if not used & series(each)] == []


def test_every_label_of_the_dashboard_is_one_of_its_metric() -> None:
    for query in expressions():
        found = [each for each in METRICS.values() if any(re.search(rf"\b{name}\b", query) for name in series(each))]
        for each in found:
            grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}
            matched = set(re.findall(r"(\w+)(?:=~|!=|=)\"", query))
            assert grouped | matched <= {*each.labels, *BY_PROMETHEUS}, query


def test_each_panel_has_a_place_and_a_number_of_its_own() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_the_guide_lists_every_metric_as_it_is() -> None:
    rows = re.findall(r"^\| `(kpi\.[a-z.]+)` \| `(\w+)` \| ([^|]*) \| ([^|]*) \|$", GUIDE, re.MULTILINE)
    assert rows == [
        (each.name, each.prometheus, ", ".join(each.labels), each.meaning.removesuffix("."))
        for each in (*OF_THE_LEDGER, *OF_WORK)
    ]


def test_labels_are_bounded() -> None:
    known = {"pipeline", "kpi", "asset", "stream", "status", "kind", "outcome"}
    assert {label for each in METRICS.values() for label in each.labels} == known


def test_names_follow_the_rules_of_opentelemetry_for_prometheus() -> None:
    for name, each in METRICS.items():
        assert re.fullmatch(r"kpi(\.[a-z]+)+(_[a-z]+)*", each.name)
        assert each.unit == "s" or re.fullmatch(r"\{[a-z_]+\}", each.unit)
        assert name.endswith("_seconds") == (each.unit == "s")
        assert name.endswith("_total") == (each.kind == "counter")
