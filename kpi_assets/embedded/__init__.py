"""The embedded stack: a real PostgreSQL and a real S3 API below $KPI_HOME, for whoever names no servers of their own.

`stack.running()` is the way in; everyone else reads what it puts into the environment.
"""
