"""Writing the files of a sample: all or none, and an error of its own where that is not possible.

Not here: what the files hold (instacart/, ecommerce/).
"""

import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kpi_assets.errors import UserError

PARTIAL = ".partial"  # the folder in which the files grow: a killed run leaves it behind, and the next removes it


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """Yield a folder in `out` in which the files grow, and remove it. Raises UserError if they cannot be written."""
    partial = out / PARTIAL
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
    except OSError as error:
        raise UserError(
            f"The sample cannot be written to {out} ({error.strerror}): name one with room where you may write."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def show(partial: Path, out: Path, paths: Iterable[str], written: Collection[str]) -> None:
    """Move the files that were written to their places; remove the others of `paths`, which an earlier run left."""
    for path in paths:
        if path in written:
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            (partial / path).replace(out / path)
        else:
            (out / path).unlink(missing_ok=True)


@contextmanager
def extra() -> Iterator[None]:
    """Convert the error of an import that only the extra `local` brings. Raises UserError."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(f"Samples need {error.name}: install kpi_assets with its extra [local].") from error
