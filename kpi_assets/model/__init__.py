"""The model: what the files below sql/ say, as typed, checked, immutable values.

Belongs here: reading headers, SELECTs, checks and pipelines, and refusing what is wrong in them with file and line.
Not here: any I/O but these files, any server, any Dagster.
"""
