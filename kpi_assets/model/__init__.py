"""The model: what the files below sql/ say, as typed, checked, immutable values.

Belongs here: reading headers, SELECTs, checks and pipelines, and reporting errors in them with file and line.
Not here: any I/O besides these files, any server, any Dagster.
"""
