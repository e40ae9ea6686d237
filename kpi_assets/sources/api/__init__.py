"""HTTP APIs: all records of a load_date, as they were answered, or an error and nothing.

fetch.py is the way in: it asks for one page after another, and proves that they are whole. server.py says whom it asks
and with which secrets; request.py writes a request, client.py sends it, ask.py sends it until it is answered, login.py
gets a token; page.py reads an answer to its end; spool.py keeps the answers; hidden.py keeps secrets out of sentences.
"""
