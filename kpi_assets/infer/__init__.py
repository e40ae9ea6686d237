"""Proposes the file of a raw table from samples of its objects: names, types, dialect and key.

Each decision is a function over what was read, and says on what it rests. What the samples do not decide is left to the
person who reads the file, as a comment.

sample.py reads, encoding.py decodes, dialect.py cuts into records, dates.py, numbers.py and values.py find types,
names.py names, keys.py finds keys, objects.py the key of the object, parquet.py reads a schema, json_records.py reads
JSON, write.py writes.
Not here: reading objects for a table (sources/formats).
"""
