"""The Dagster instance: its folder, its dagster.yaml, and the storage behind it.

Belongs here: what makes runs, events and schedules last. Not here: what runs (assets/, automation/).
"""
