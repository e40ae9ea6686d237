"""The simulated HTTP APIs of the shipped pipelines, each with a database of its own on the embedded PostgreSQL.

They behave as the API of another company does: secrets, pages, errors as JSON, and rows that change between two
requests. Belongs here: which APIs there are, their databases, and the program that answers. Not here: which rows are in
the databases (samples/), and when the program runs (embedded/apis.py).
"""
