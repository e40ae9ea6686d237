"""One build of one table for one load_date: fill a candidate, audit it, publish it or hold it, and account for it.

Belongs here: the order of these steps and what each may assume. Not here: the SQL of a step (warehouse/), the bytes
(sources/), the records (ledger/), and Dagster (assets/).
"""
