"""The key of a table: columns whose values are different in every record of each file.

A sample proves that columns are no key; that they are one it only suggests. So a key that few records suggest must
also have the name of one.
"""

import re
from collections.abc import Sequence
from itertools import combinations

_NAMED = re.compile(r"(?:^|_)(?:id|key|no|nr|num|number|nummer|code|uuid|guid|sku|ean|isbn)(?:_|$)")
_KEYS = ("smallint", "integer", "bigint", "text", "uuid", "date")  # types of which a key may consist
FEW = 50  # records: below, a key must have the name of one
_WIDEST = 14  # columns of which pairs are tried

Rows = Sequence[Sequence[str | None]]


def find_key(names: Sequence[str], types: Sequence[str], files: Sequence[Rows]) -> list[str]:
    """Return the columns of the key, at most two; none if there is no key. NULL is None in the rows."""
    fit = [place for place, type_ in enumerate(types) if type_ in _KEYS and _is_known(place, files)]
    fit.sort(key=lambda place: (not _NAMED.search(names[place]), types[place] == "text", place))
    fewest = min((len(rows) for rows in files), default=0)
    for places in (*((place,) for place in fit), *combinations(fit[:_WIDEST], 2)):
        is_named = all(_NAMED.search(names[place]) or types[place] == "date" for place in places)
        is_named = is_named and any(_NAMED.search(names[place]) for place in places)
        if (is_named or (fewest >= FEW and len(places) == 1)) and _is_unique(places, files):
            return [names[place] for place in sorted(places)]
    return []


def _is_known(place: int, files: Sequence[Rows]) -> bool:
    return all(row[place] is not None for rows in files for row in rows)


def _is_unique(places: Sequence[int], files: Sequence[Rows]) -> bool:
    return all(len({tuple(row[place] for place in places) for row in rows}) == len(rows) for rows in files)


def unique_columns(names: Sequence[str], types: Sequence[str], files: Sequence[Rows], key: Sequence[str]) -> list[str]:
    """Return the other columns that are different in every record, where there are enough records to say so."""
    if min((len(rows) for rows in files), default=0) < FEW:
        return []
    places = [place for place, name in enumerate(names) if name not in key and types[place] in _KEYS]
    return [names[place] for place in places if _is_known(place, files) and _is_unique((place,), files)]
