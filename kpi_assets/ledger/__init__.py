"""The ops schema: the run log, check results, manifests, the publish ledger, the quarantine, incidents and locks.

Belongs here: every statement on ops.*. Not here: the decision what to record (materialize/, assets/), and how it is
shown (cli/).
"""
