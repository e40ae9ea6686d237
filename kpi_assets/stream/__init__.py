"""Streams: events from a broker, landed as immutable objects of which each continues the one before.

Belongs here: readers of brokers, the landing, the format of the objects. Not here: tables made of them (materialize/).
"""
