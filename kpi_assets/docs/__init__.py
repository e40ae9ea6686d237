"""The reference pages of docs/, generated from the code by `python -m kpi_assets.docs`.

Belongs here: one module for each page, with a function `page() -> str` that returns Markdown, and what the pages share.
The words and their descriptions are in the models, the commands, the settings and the migrations. Not here: the guides
and the tutorial, which people write.
"""
