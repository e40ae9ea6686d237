"""Columns of text, laid side by side: millions of records are written without a loop over them.

Belongs here: turning values into columns of text, and such columns into records. Not here: which columns a file has.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Texts = npt.NDArray[np.bytes_]  # padded to a fixed width with NUL


def texts(form: str, values: Iterable[Any]) -> Texts:
    """Each value in a printf format."""
    return np.array([form % value for value in values], dtype=np.bytes_)


def records(*fields: Texts) -> bytes:
    """The records made of equally long columns; each field brings its own comma or line feed along.

    Laid side by side in their fixed widths, and freed of the NULs that pad them, the texts are the records.
    """
    layout = np.dtype([(str(number), field.dtype) for number, field in enumerate(fields)])
    rows = np.empty(len(fields[0]), dtype=layout)
    for number, field in enumerate(fields):
        rows[str(number)] = field
    return rows.tobytes().translate(None, b"\0")
