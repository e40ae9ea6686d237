"""Soak: long tests of batch pipelines on a `kpi up` of their own: automation, the backfill of a month, and kills.

Belongs here: the acts (__main__.py), what lands and what is killed in the third (kills.py), who reads meanwhile
(readers.py), and what must be true in the end (verdict.py). Not here: kills around a stream (chaos).
"""
