"""Alerts: what the incidents in ops are called in words, and the channels on which people are told of them.

Belongs here: messages, channels, and one pass over the outbox. Not here: what is an incident and whether it was told
(ledger/incidents.py, ledger/deliveries.py), and the moments at which somebody delivers (automation/, cli/).
"""
