"""`python -m kpi_assets.docs` writes the reference pages; `--check` prints the differences and then exits with 1."""

import argparse
import sys
from pathlib import Path

from kpi_assets.docs.pages import differences, write
from kpi_assets.settings import CHECKOUT


def main() -> int:
    """Write the pages or compare them, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kpi_assets.docs", description="Write the reference pages.")
    parser.add_argument("--check", action="store_true", help="compare the pages with the code and write nothing")
    parser.add_argument("folder", nargs="?", type=Path, default=CHECKOUT / "docs" / "reference")
    given = parser.parse_args()
    if not given.check:
        for path in write(given.folder):
            sys.stdout.write(f"Wrote {path}.\n")
        return 0
    found = differences(given.folder)
    for difference in found:
        sys.stdout.write(difference)
    if found:
        sys.stdout.write(
            "These pages differ from the code: run `python -m kpi_assets.docs` and commit what it writes.\n"
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
