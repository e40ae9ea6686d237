"""The warehouse: the operations inside Postgres that build, audit and publish a table.

Belongs here: connections, candidates, COPY, the SQL of checks, replacing published rows. Not here: the schema ops
(ledger/), and S3 (sources/).
"""
