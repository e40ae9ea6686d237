"""The asset graph, run by Dagster itself."""
