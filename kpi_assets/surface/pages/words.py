"""Signs and words of states on pages: what a badge looks like, and what it means.

Not here: sentences about a KPI (read/said.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.read.kpis import KpiGate, KpiState


@dataclass(frozen=True)
class BadgeLook:
    """A sign, a color, and what it means: the color never stands alone."""

    sign: str
    color: str
    meaning: str


BADGES: Mapping[KpiGate, BadgeLook] = {
    "published": BadgeLook("✓", "published", "The newest day, and it passed."),
    "warned": BadgeLook("!", "warned", "The newest day; it passed with a warning."),
    "waived": BadgeLook("!", "waived", "The newest day; it is published on a person's word, although checks failed."),
    "late": BadgeLook("◷", "late", "A newer day is due and not there."),
    "running": BadgeLook("↻", "running", "This day passed; a newer one is being built."),
    "waiting": BadgeLook("↻", "running", "This day passed; a newer one waits for the other KPIs."),
    "held": BadgeLook("◔", "held", "The last good day: it passed, and a newer one did not."),
    "failed": BadgeLook("◔", "failed", "The last good day: it passed, and building a newer one failed."),
    "none": BadgeLook("–", "none", "Nothing is published yet."),
}
SIGNS = {"held": "✕", "failed": "✕", "running": "↻", "waiting": "↻", "late": "◷", "waived": "!"}  # of banners
COLORS = {"held": "red", "failed": "red", "running": "blue", "waiting": "blue", "late": "amber", "waived": "amber"}

INSTEAD = "A newer day did not reach readers; this one is published on a person's word, although checks failed."
KEPT_OUT = "The newest day, as it was before: it passed, and a person keeps out what took its place."


def meaning_of(kpi: KpiState) -> str:
    """Return what the badge of a KPI means: what is published on a person's word never passed."""
    if kpi.stop and kpi.latest and kpi.latest.waived:
        return INSTEAD
    if kpi.stop and kpi.stop.is_kept_out and kpi.stop.is_correction:
        return KEPT_OUT
    return BADGES[kpi.gate].meaning


def pipeline_title(pipeline: Pipeline) -> str:
    """Return what readers call a pipeline."""
    name = pipeline.name.replace("_", " ")
    return name[:1].upper() + name[1:]
