"""The API below /api/v1/: KPIs, their series and rows, and what can be trusted about each number.

Belongs here: addresses, parameters, and the form of answers. Not here: what is true of a KPI (read/), caching and
sessions (surface/answer.py), and pages (surface/pages/).
"""
