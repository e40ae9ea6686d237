"""What readers may ask of a pipeline's database: published rows, and what the checks of a load_date found.

Belongs here: the questions, as SQL, and their answers as plain data, for the command line and whatever else shows them.
Not here: printing (cli/), and what decides whether rows are published (materialize/). Nothing here changes anything.
"""
