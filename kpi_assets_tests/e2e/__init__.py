"""Tests through the web UI, with everything behind it, started as `kpi up` starts it."""
