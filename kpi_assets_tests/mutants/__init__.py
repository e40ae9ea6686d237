"""Mutation testing: break the code in one place after another, and see whether a test notices.

Our own, because the libraries for it leave out what matters most here: they change the bodies of plain functions only
(mutmut) or the checkout itself (cosmic-ray), and none changes the SQL inside a string, drops a setting from a table of
settings, or takes a sample that can be repeated.
"""
