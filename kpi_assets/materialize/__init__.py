"""The builds: each fills a candidate of one table and load_date, audits it, and publishes or holds it.

Belongs here: the order of the steps, and what each step may assume. Not here: the SQL of a step (warehouse/), reading
objects (sources/), the rows of the ledger (ledger/), and Dagster (assets/).
"""
