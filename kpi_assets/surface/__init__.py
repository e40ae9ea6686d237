"""`kpi serve`: pages and an API for those who read the numbers. It reads only, as the role kpi_reader.

Belongs here: HTTP, HTML and pictures. Not here: what is true of a KPI (read/), how a number is written
(model/number_format.py), and anything that changes data.
"""
