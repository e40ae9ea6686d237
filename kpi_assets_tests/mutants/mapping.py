"""Which tests belong to which module: those that must fail when it is broken, the quickest first.

A module that is not named here has its tests in the file of its name: warehouse/audit.py has warehouse/test_audit.py.
"""

from pathlib import Path

_CORE = ("materialize/test_publish.py", "materialize/test_gate_verdicts.py")
_AUDIT = ("warehouse/test_audit.py", "warehouse/test_checks.py", "materialize/test_gate_verdicts.py")
_TESTS = {
    "model/checks/bad_rows": ("model/test_checks.py", "warehouse/test_checks.py"),
    "model/checks/base": ("model/test_checks.py", "warehouse/test_audit.py", "warehouse/test_checks.py"),
    "model/checks/custom": ("model/test_checks.py", "warehouse/test_checks.py"),
    "model/checks/expand": ("model/test_checks.py",),
    "model/checks/keys": ("model/test_checks.py", "warehouse/test_checks.py", "warehouse/test_audit.py"),
    "model/checks/reconcile": ("model/test_checks.py", "warehouse/test_audit.py"),
    "model/checks/row_counts": ("model/test_checks.py", "warehouse/test_audit.py"),
    "model/checks/source_object": ("warehouse/test_audit.py", "materialize/test_same_bytes.py"),
    "model/checks/sql_text": ("model/test_checks.py", "warehouse/test_checks.py"),
    "model/checks/word": ("model/test_header.py", "materialize/test_new_check_word.py"),
    "model/affects": ("model/test_versions.py",),
    "model/versions": ("model/test_versions.py", "model/test_pipeline.py", "model/test_lookback.py"),
    "warehouse/audit": _AUDIT,
    "warehouse/checksum": ("warehouse/test_audit.py",),
    "warehouse/dense_keys": ("materialize/test_foreign_key_by_range.py",),
    "warehouse/scan": ("warehouse/test_scan.py", *_AUDIT),
    "warehouse/provision": ("warehouse/test_provision.py", "materialize/test_role.py"),
    "warehouse/candidates": ("warehouse/test_candidates.py", *_CORE, "materialize/test_slices.py"),
    "warehouse/connection": (
        "warehouse/test_connection.py",
        "materialize/test_role.py",
        "materialize/test_concurrency.py",
    ),
    "warehouse/content": ("doctor/test_content.py", "plan/test_lost.py"),
    "warehouse/float_sums": ("materialize/test_replay.py",),
    "warehouse/shape": ("warehouse/test_tables.py", "materialize/test_edits.py"),
    "warehouse/snapshots": ("materialize/test_snapshots.py",),
    "warehouse/slices": ("warehouse/test_slices.py", "materialize/test_slices.py"),
    "warehouse/tables": ("warehouse/test_tables.py", "materialize/test_drop.py", "materialize/test_edits.py"),
    "warehouse/ddl": ("warehouse/test_tables.py", "warehouse/test_candidates.py", "materialize/test_drop.py"),
    "warehouse/views": ("materialize/test_views.py", "warehouse/test_tables.py", "materialize/test_edits.py"),
    "warehouse/alter": ("warehouse/test_tables.py", "materialize/test_edits.py"),
    "warehouse/preview": ("warehouse/test_candidates.py", *_CORE, "instance/test_charts.py"),
    "warehouse/kinds": ("warehouse/test_kinds.py", "materialize/test_storage_kinds.py", "warehouse/test_tables.py"),
    "warehouse/kinds/strategy": (
        "materialize/test_storage_kinds.py",
        "warehouse/test_tables.py",
        "materialize/test_snapshots.py",
        "plan/test_lost.py",
    ),
    "warehouse/kinds/rows": ("warehouse/test_tables.py", *_CORE, "materialize/test_edits.py"),
    "warehouse/kinds/partitions": (
        "warehouse/test_attach.py",
        "materialize/test_slices.py",
        "materialize/test_retention.py",
        "plan/test_lost.py",
    ),
    "warehouse/kinds/view": ("materialize/test_views.py", "plan/test_lost.py"),
    "model/kinds": ("warehouse/test_kinds.py", "model/test_header.py", "materialize/test_storage_kinds.py"),
    "warehouse/quarantine": ("warehouse/test_quarantine.py", "materialize/test_content.py"),
    "monitoring/freshness": ("monitoring/test_freshness.py",),
    "monitoring/recovery": ("monitoring/test_freshness.py", "ledger/test_incidents.py"),
    "materialize/check_facts": (
        "materialize/test_foreign_key_by_range.py",
        "materialize/test_min_rows.py",
        "materialize/test_same_bytes.py",
    ),
    "materialize/context": ("materialize/test_context.py", *_CORE, "materialize/test_slices.py"),
    "materialize/fill": ("materialize/test_slices.py", *_CORE),
    "materialize/load": (
        "materialize/test_content.py",
        "materialize/test_slices.py",
        "materialize/test_replaced.py",
        "materialize/test_other_formats.py",
    ),
    "materialize/verify_object": (*_CORE, "assets/test_gates.py"),
    "materialize/retry": (
        "materialize/test_retry.py",
        "materialize/test_concurrency.py",
        "materialize/test_retention.py",
    ),
    "materialize/prepare": ("materialize/test_prepare.py", "ledger/test_schema.py", "warehouse/test_provision.py"),
    "materialize/recheck": (
        "materialize/test_recheck.py",
        "ledger/test_results.py",
        "materialize/test_lookback.py",
        "materialize/test_retention.py",
    ),
    "materialize/retention": ("materialize/test_retention.py",),
    "materialize/build": (
        *_CORE,
        "materialize/test_lost_server.py",
        "materialize/test_killed.py",
    ),
    "materialize/audit": (*_CORE, "materialize/test_foreign_key_by_range.py"),
    "materialize/hold": ("materialize/test_publish.py", "plan/test_status.py"),
    "materialize/publish": (
        *_CORE,
        "materialize/test_concurrency.py",
        "materialize/test_lost_server.py",
        "materialize/test_views.py",
    ),
    "materialize/inputs": (
        *_CORE,
        "materialize/test_lookback.py",
        "materialize/test_views.py",
        "materialize/test_retention.py",
    ),
    "materialize/parallel": ("materialize/test_slices.py",),
    **dict.fromkeys(
        [
            f"docs/{page}"
            for page in ("checks", "cli", "header", "markdown", "pages", "pipeline_yaml", "settings", "words")
        ],
        ("test_docs.py",),
    ),
    "docs/ops_schema": ("test_docs.py", "ledger/test_schema.py"),
    "materialize/transform": ("materialize/test_plan_slices.py", "materialize/test_slices.py", *_CORE),
    "sources/landing": ("sources/test_landing.py", "sources/test_conditional.py"),
    "model/quarantine": ("warehouse/test_quarantine.py", "warehouse/test_audit.py", "materialize/test_content.py"),
    "model/format_kinds": ("sources/formats/test_registry.py", "materialize/test_gate_verdicts.py", "cli/test_land.py"),
    "sources/any_order": ("sources/test_compression.py", "materialize/test_parquet.py"),
    "sources/extra_fields": ("materialize/test_parquet.py", "materialize/test_dialects.py"),
    "sources/deliveries": ("materialize/test_several_objects.py",),
    "sources/reference": ("materialize/test_reference_object.py",),
    "sources/local_copy": ("sources/test_local_copy.py",),
    "sources/object_bytes": ("materialize/test_content.py", "materialize/test_slices.py"),
    **dict.fromkeys(
        [f"sources/formats/parquet/{each}" for each in ("binary", "copy_mode", "file", "layout", "object", "values")],
        ("materialize/test_parquet.py",),
    ),
    "sources/formats/base": ("materialize/test_other_formats.py",),
    "sources/formats/csv/copy_modes": ("sources/formats/csv/test_records.py", "materialize/test_content.py"),
    "sources/formats/csv/layout": ("sources/formats/csv/test_records.py", "sources/test_signatures.py"),
    "sources/formats/csv/encoding": ("materialize/test_dialects.py",),
    "sources/formats/csv/grammar": ("sources/formats/csv/test_records.py", "materialize/test_dialects.py"),
    "sources/formats/csv/rewrite": ("materialize/test_dialects.py",),
    "sources/compression": ("sources/test_compression.py", "materialize/test_dialects.py"),
    "sources/formats/csv/records": ("sources/formats/csv/test_records.py", "warehouse/test_quarantine.py"),
    "sources/store": ("sources/test_store.py", "sources/test_conditional.py"),
    "model/partition_filter": ("model/test_examples.py", "model/test_query.py", "model/test_lookback.py"),
    "model/joins": ("model/test_examples.py", "model/test_query.py", "model/test_pushdown.py"),
    "model/tree": ("model/test_tree.py", "model/test_pipeline.py"),
    "model/folder": ("model/test_tree.py", "model/test_pipeline.py"),
    "model/neighbors": ("model/test_tree.py", "model/test_pipeline.py"),
    "plan/classify": ("plan/test_status.py", "plan/test_lookback.py", "plan/test_lost.py"),
    "plan/collect": ("plan/test_collect.py", "plan/test_status.py", "plan/test_lookback.py", "plan/test_lost.py"),
    "automation/sensor_tick": ("automation/test_sensor.py", "automation/test_fuzz.py", "automation/test_lookback.py"),
    "ledger/deliveries": ("alerts/test_storm.py", "ledger/test_incidents.py", "alerts/test_delivery.py"),
    "ledger/holds": ("plan/test_status.py", "materialize/test_publish.py"),
    "ledger/history": ("plan/test_status.py", "plan/test_lookback.py"),
    "ledger/locks": ("ledger/test_locks.py", "materialize/test_concurrency.py", "materialize/test_retention.py"),
    "ledger/manifests": ("materialize/test_replaced.py", "plan/test_status.py"),
    "ledger/quarantine": ("materialize/test_content.py",),
    "ledger/run_claims": ("automation/test_sensor.py",),
    "ledger/results": ("ledger/test_results.py", "materialize/test_gate_verdicts.py"),
    "ledger/runs": ("ledger/test_runs.py", "materialize/test_publish.py", "materialize/test_killed.py"),
    "ledger/run_states": ("ledger/test_runs.py", "plan/test_status.py"),
    "ledger/publishes": (
        "materialize/test_publish.py",
        "materialize/test_lookback.py",
        "materialize/test_retention.py",
    ),
}


def files_of(module: str, tests: Path) -> list[str]:
    """Return the existing test files of a module such as `warehouse/audit`, below the folder `tests`."""
    folder, _, name = module.rpartition("/")
    named = _TESTS.get(module, (f"{folder}/test_{name}.py",))
    return [file for file in named if (tests / file).is_file()]
