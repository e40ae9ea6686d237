"""Alerts: the messages about incidents, and the channels that send them to people.

Belongs here: messages, channels, and one pass over the outbox. Not here: recording incidents and deliveries
(ledger/incidents.py, ledger/deliveries.py), and when alerts are delivered (automation/, cli/).
"""
