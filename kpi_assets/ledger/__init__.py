"""The ops schema: writing and reading the run log, check results, manifests, the publish ledger and the quarantine.

Belongs here: every statement on ops.*. Not here: deciding what to record (materialize/, assets/), showing it (cli).
"""
