"""The pages for people: one module for each kind of page, with its addresses and what it shows.

Belongs here: HTTP parameters of pages, and what a template is given. Not here: HTML (templates/), shapes (draw/), and
what is true (read/).
"""
