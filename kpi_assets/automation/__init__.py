"""Automation: which assets run together, and when: jobs, sensors and schedules.

Belongs here: selections of assets, and the times at which they run. Not here: what an asset does (assets/).
"""
