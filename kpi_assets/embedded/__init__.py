"""The embedded stack: a real PostgreSQL and a real S3 API below $KPI_HOME, for whoever names no servers of their own.

`stack.embedded_servers()` is the way in: it gives settings that name them.
"""
