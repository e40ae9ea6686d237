"""Monitoring: decides from the ledger which KPIs are late, and which incidents are over.

Belongs here: decisions. Not here: the statements on schema ops (ledger/), and messages (alerts/).
"""
