"""Portable SQL: which SELECTs mean the same on another engine, and what they are called there.

A SELECT of Postgres is typed from the headers of the tables that it reads, and is written again for Spark SQL (ANSI)
or DuckDB so that it gives equal rows of equal types. Only what is known to be equal is let through: each kind of
expression has a rule that checks its operands, says its type, and writes it for the engine. What has no rule is
refused, with its file and line and the portable way to write it.

`types.py` has the types, `refusals.py` the sentences and examples, `expressions.py` the rules for values, together with
`numbers.py`, `dates.py` and `texts.py`; what they share is in `values.py`. `aggregates.py` has those for aggregates and
windows, and `statement.py` those for a whole SELECT. `raw_words.py` has the words of raw
tables, and `problems.py` looks at a pipeline.
Not here: sessions of an engine. Nothing here imports one.
"""
