"""Chaos: everything that takes part in a stream is killed at random, and afterwards each event is where it belongs.

`python -m kpi_assets_tests.e2e.chaos` sends events while landing, builder, broker, store, database and daemon are
killed, and then compares what was acknowledged, what is on the store and what is published.

Belongs here: what is killed when (schedule.py), the processes (parts.py), sending (sending.py) and the comparison
(accounts.py, verdict.py). Not here: kills of the landing alone (stream/test_kill.py), and batch pipelines (soak).
"""
