"""The Dagster instance: its folder, its dagster.yaml, and the storage behind it.

Belongs here: how runs, events and schedules are stored, and the processes of `kpi up`. Not here: what runs (assets/,
automation/).
"""
