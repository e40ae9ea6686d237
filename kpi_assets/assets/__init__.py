"""The asset graph: models turned into Dagster assets, check specs, metadata and partitions.

Belongs here: what Dagster is told. Not here: how a table is built (materialize/), and when (automation/).
"""
