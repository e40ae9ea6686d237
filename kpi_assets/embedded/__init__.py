"""The embedded stack: a real PostgreSQL and a real S3 API below $KPI_HOME, used if the settings name no other servers.

The entry point is `stack.embedded_servers()`, which yields settings that name these servers.
"""
