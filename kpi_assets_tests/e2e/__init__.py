"""The way in that a person uses: the web UI, with everything behind it, started as `kpi up` starts it."""
