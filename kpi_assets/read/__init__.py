"""Queries for readers of a pipeline: published rows, what they come from, and the check results of a load_date.

Belongs here: read-only queries and their results as plain data, for the command line and for other interfaces.
Not here: printing (cli/), and the decision whether rows are published (materialize/).
"""
