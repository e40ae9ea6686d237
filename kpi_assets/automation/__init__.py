"""Automation: what runs when, and as one run: jobs, sensors and schedules.

Belongs here: selections of assets and the moments at which they run. Not here: what an asset does (assets/).
"""
