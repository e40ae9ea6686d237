"""The benchmark: the time that kpi_assets and other tools take for the same files on the same server.

`make bench` runs it. Each contender is a module here with `prepare` (not timed), `run` (timed) and `kpis` (which must
be equal for all contenders before a time counts). Not here: tests; no time is asserted anywhere.
"""
