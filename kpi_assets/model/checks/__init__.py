"""Checks: what a header asks of a table's rows, as objects that say what to measure and what the result is.

`words.py` is the registry of the words below `checks`; `base.py` says what a check is; `expand.py` makes the checks of
one header; the other modules hold one family of checks each, with the words that ask for them.
Not here: executing SQL (warehouse/audit.py), and looking up what a check needs to know (materialize/check_facts.py).
"""
