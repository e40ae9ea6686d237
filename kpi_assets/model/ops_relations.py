"""The relations of the schema ops that readers may read, by the grants of kpi_reader, in live views and in questions.

Not here: granting (warehouse/provision.py), and the relations themselves (ledger/migrations/).
"""

from collections.abc import Collection, Mapping

OPS = "ops"  # the schema
# The relations of ops that kpi_reader may read -> the columns that it may not, because they may quote delivered values.
FOR_READERS: Mapping[str, Collection[str]] = {
    "alert_deliveries": ("last_error",),
    "alerts": ("details", "field", "part"),
    "api_turns": (),
    "bad_rows": ("record", "value", "reason", "key", "corrected"),
    "batches": (),
    "data_quality_results": ("samples", "message"),
    "drift": ("field", "sample"),
    "erasures": ("request", "reason"),
    "growth": (),
    "holds": (),
    "kpi_tiles": (),
    "kpi_trust": (),
    "kpi_values": (),
    "kpis": (),
    "manifest_links": (),
    "manifest_parts": (),
    "manifests": (),
    "migrations": (),
    "mirrors": (),
    "pipeline_runs": ("error_message",),
    "published": (),
    "publishes": (),
    "quarantine": ("record", "value", "reason", "key", "corrected"),
    "releases": (),
    "requests": (),
    "restatements": (),
    "rulings": (),
    "stream_closings": (),
    "stream_objects": (),
    "stream_positions": (),
}
# Those of them whose rows are of no load_date, or of the latest one alone, so that no question can be tied to them.
OF_NO_LOAD_DATE = frozenset(
    (
        "alert_deliveries",
        "api_turns",
        "erasures",
        "holds",
        "kpi_trust",
        "kpi_values",
        "kpis",
        "manifest_links",
        "manifest_parts",
        "migrations",
        "stream_positions",
    )
)
