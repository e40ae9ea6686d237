"""Checks: what a header demands of a table's rows, as objects that name their measures and make their result.

`words.py` is the registry of the words below `checks`; `base.py` defines the interface of a check; `expand.py` makes
the checks of one header; each other module has one family of checks and the words that declare them.
Not here: executing SQL (warehouse/audit.py), and looking up the facts that a check needs (materialize/check_facts.py).
"""
