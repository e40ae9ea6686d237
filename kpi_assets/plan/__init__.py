"""The plan: what each load_date is in need of, by comparing what lies on S3 with what Postgres says came of it.

Belongs here: that comparison, which the sensor, the schedule, `kpi plan` and `kpi backfill` share; nothing is
remembered between two looks. Not here: the listing (sources/), the records (ledger/), and starting runs (automation/,
cli/).
"""
