"""The reference pages of docs/, written from the code: `python -m kpi_assets.docs`.

Belongs here: one module a page, each with a function `page() -> str` that returns Markdown, and what these share. The
words themselves and their descriptions stand where they are defined: in the models, the commands, the settings and the
migrations. Not here: the guides and the tutorial, which people write.
"""
