"""Speed, side by side: what others would do with the same files on the same server, and what kpi_assets does.

`make bench` runs it. Each contender is a module here with `prepare` (not timed), `run` (timed) and `kpis` (what must be
equal before a time counts). Not here: tests; no time is asserted anywhere.
"""
