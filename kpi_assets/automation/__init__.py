"""Automation: what runs when, and as one run: jobs, and later schedules, sensors and alerts.

Belongs here: selections of assets and the moments at which they run. Not here: what an asset does (assets/).
"""
