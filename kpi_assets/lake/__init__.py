"""The lake: tables whose rows are in Iceberg, filled and audited by an engine that is spoken to by Spark Connect.

The engine holds candidates and published rows; the ledger in Postgres says which snapshots are published. session.py
speaks to the engine, tables.py has the life of an Iceberg table, statements.py the engine's form of a SELECT, audit.py
the checks, and rows.py the way of a result into Postgres.
Not here: the order of the steps of a build (materialize/), and what another engine can say at all (model/portable/).
Nothing of this package is imported before a table of the lake is met: its client is an extra.
"""
