"""The doctor: checks whether this machine and its servers can do the work, and says what to do if they cannot.

Belongs here: examining, with one module for each thing examined. Nothing is changed, except for a probe object that is
removed again. Not here: mending (`kpi bootstrap`, materialize/prepare.py), and printing (cli/).
"""
