"""The ops schema: the run log, check results, manifests, the publish ledger, the quarantine, incidents and locks.

Belongs here: every statement on ops.*. Not here: deciding what to record (materialize/, assets/), and showing it
(cli/).
"""
