"""The warehouse: what is done inside Postgres to build, audit and publish a table.

Belongs here: connections, candidates, COPY, the SQL of checks, the swap. Not here: the records about it (ledger/), S3
(sources/).
"""
