"""The asset graph: models turned into Dagster assets, check specs, metadata and partitions.

Belongs here: what is declared to Dagster, and the events of a build. Not here: how a table is built (materialize/), and
when it is built (automation/).
"""
