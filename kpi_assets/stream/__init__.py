"""Streams: the events of a broker, landed as immutable objects on the lake.

Belongs here: reading a broker (reader.py, with kafka.py and kinesis.py behind it), and landing what was read. Not here:
the embedded broker (embedded/broker.py), and building tables from the objects (materialize/).
"""
