"""The registry of the words below `checks`.

A new word needs one module with its check and its CheckWord, and one entry here. Then the header accepts the word,
versions contain it, builds and rechecks make the check, and the reference in docs/ describes it.
"""

from kpi_assets.model.checks.bad_rows import ACCEPTED_VALUES, NOT_NULL, RANGE
from kpi_assets.model.checks.keys import FOREIGN_KEY, UNIQUE
from kpi_assets.model.checks.reconcile import RECONCILE
from kpi_assets.model.checks.row_counts import MIN_ROWS
from kpi_assets.model.checks.word import CheckWord

# In the order in which people read the results.
WORDS: dict[str, CheckWord] = {
    word.name: word for word in (MIN_ROWS, NOT_NULL, ACCEPTED_VALUES, RANGE, UNIQUE, FOREIGN_KEY, RECONCILE)
}
