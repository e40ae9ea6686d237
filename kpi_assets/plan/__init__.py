"""The plan: what each load_date needs, found by comparing what lies on S3 with what the ledger says was published.

Belongs here: that comparison. The sensor, the schedule, `kpi plan` and `kpi backfill` share it, and nothing is
remembered from one comparison to the next. Not here: listing S3 (sources/), reading the ledger (ledger/), and starting
runs (automation/, cli/).
"""
