"""The doctor: whether this machine and its servers are fit for work, and what to do where they are not.

Belongs here: looking, one module a patient. Nothing is changed, but for a probe object that is removed again. Not here:
mending (`kpi bootstrap`, materialize/prepare.py), and printing (cli/).
"""
