"""Which tests belong to which module: those that must fail when it is broken, the quickest first.

A module that is not named here has the file of its own name beside it: warehouse/audit.py has warehouse/test_audit.py.
"""

from pathlib import Path

_CORE = ("build/test_publish.py", "build/test_judged.py")
_TESTS = {
    "warehouse/audit": ("warehouse/test_audit.py", "warehouse/test_checks.py", "build/test_judged.py"),
    "warehouse/bootstrap": ("warehouse/test_bootstrap.py", "build/test_role.py"),
    "warehouse/candidates": ("warehouse/test_candidates.py", *_CORE, "build/test_slices.py"),
    "warehouse/connection": ("warehouse/test_connection.py", "build/test_role.py", "build/test_together.py"),
    "warehouse/content": ("doctor/test_content.py", "plan/test_lost.py"),
    "warehouse/float_sums": ("build/test_replay.py",),
    "warehouse/shape": ("warehouse/test_tables.py", "build/test_edits.py"),
    "warehouse/snapshots": ("build/test_snapshots.py",),
    "warehouse/slices": ("warehouse/test_slices.py", "build/test_slices.py"),
    "warehouse/tables": (
        "warehouse/test_attach.py",
        "warehouse/test_tables.py",
        "build/test_views.py",
        "build/test_retention.py",
    ),
    "warehouse/triage": ("warehouse/test_triage.py", "build/test_content.py"),
    "build/context": ("build/test_context.py", *_CORE, "build/test_slices.py"),
    "build/fill": ("build/test_content.py", "build/test_slices.py", "build/test_replaced.py"),
    "build/object": (*_CORE, "assets/test_gates.py"),
    "build/patience": ("build/test_patience.py", "build/test_together.py", "build/test_retention.py"),
    "build/prepare": ("build/test_prepare.py", "ops/test_schema.py", "warehouse/test_bootstrap.py"),
    "build/recheck": (
        "build/test_recheck.py",
        "ops/test_results.py",
        "build/test_lookback.py",
        "build/test_retention.py",
    ),
    "build/retention": ("build/test_retention.py",),
    "build/table": (*_CORE, "build/test_together.py", "build/test_gapless.py", "build/test_lost_server.py"),
    "build/upstream": (*_CORE, "build/test_lookback.py", "build/test_views.py", "build/test_retention.py"),
    "build/writers": ("build/test_slices.py",),
    "lake/cut": ("lake/test_cut.py",),
    "lake/landing": ("lake/test_landing.py", "lake/test_conditional.py"),
    "lake/records": ("lake/test_records.py", "warehouse/test_triage.py"),
    "lake/store": ("lake/test_store.py", "lake/test_conditional.py"),
    "model/tree": ("model/test_tree.py", "model/test_pipeline.py"),
    "ops/deliveries": ("alerts/test_storm.py", "ops/test_alerts.py", "alerts/test_delivery.py"),
    "ops/holds": ("plan/test_standing.py", "build/test_publish.py"),
    "ops/ledger": ("plan/test_standing.py", "plan/test_lookback.py"),
    "ops/locks": ("ops/test_locks.py", "build/test_together.py", "build/test_retention.py"),
    "ops/manifests": ("build/test_replaced.py", "plan/test_standing.py"),
    "ops/quarantine": ("build/test_content.py",),
    "ops/requests": ("automation/test_sensor.py",),
    "ops/results": ("ops/test_results.py", "build/test_judged.py"),
    "ops/runs": ("ops/test_runs.py", "build/test_publish.py", "build/test_killed.py"),
    "ops/state": ("ops/test_runs.py", "plan/test_standing.py"),
    "ops/publishes": ("build/test_publish.py", "build/test_lookback.py", "build/test_retention.py"),
}


def files_of(module: str, tests: Path) -> list[str]:
    """The test files of a module such as `warehouse/audit`, below the folder `tests`; those that exist."""
    folder, _, name = module.rpartition("/")
    named = _TESTS.get(module, (f"{folder}/test_{name}.py",))
    return [file for file in named if (tests / file).is_file()]
