"""Telemetry: metrics and traces for the tools of those who run kpi_assets.

The core tells observed.py what it does; sent.py makes metrics and traces of it, if somebody is named who takes them.
figures.py reads what the ledger knows, for the page that Prometheus reads and for the same receiver.

Belongs here: what is measured, under which names, and how it gets out. Not here: incidents and their messages
(alerts/), and the requests that `kpi serve` counts (surface/numbers.py).
"""
