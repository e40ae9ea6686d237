"""The plan: decides what each load_date needs by comparing the objects on S3 with the publishes in the ledger.

Belongs here: that comparison. The sensor, the schedule, `kpi plan` and `kpi backfill` share it, and it keeps no state
from one time to the next. Not here: listing S3 (sources/), reading the ledger (ledger/), and starting
runs (automation/, cli/).
"""
