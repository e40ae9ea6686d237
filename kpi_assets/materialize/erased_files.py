"""The files of servers that are ours: in which of them the text of an identifier stands.

Postgres may have packed a value: then a byte stands between the letters, one for each eight of what it has not met yet.
What gzip has packed is not found here: objects are read as what they are (erase_proof.py).
Not here: making files anew that have such texts (warehouse/files_anew.py).
"""

import mmap
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from kpi_assets.materialize.context import Progress

SHORTEST = 10  # letters of an identifier that is looked for: a shorter one stands in some file by chance


def files_with(folder: Path, texts: Sequence[str], on_progress: Progress) -> Iterator[Path]:
    """Yield the files below a folder that hold one of the texts, in letters of any size; short texts are left out."""
    long = sorted({each.strip().encode() for each in texts if len(each.strip()) >= SHORTEST})
    if not long:
        return
    spread = (b".?".join(re.escape(bytes([byte])) for byte in each) for each in long)
    pattern = re.compile(b"|".join(spread), re.DOTALL | re.IGNORECASE)
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    for done, path in enumerate(paths):
        on_progress("reading files", done, len(paths))
        if _holds(path, pattern):
            yield path


def _holds(path: Path, pattern: "re.Pattern[bytes]") -> bool:
    """Return whether a file holds what a pattern describes; a file that a server removes meanwhile holds nothing."""
    try:
        with path.open("rb") as file:
            if not (file.seek(0, 2)):
                return False
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return pattern.search(content) is not None
    except FileNotFoundError:
        return False
