"""The command `kpi`: its subcommands, what they print, and their exit codes.

Belongs here: arguments, printing, exit codes. Not here: what a command does to data.
Exit codes: 0 all published, 1 failed or not landed, 2 wrong usage, 3 held by a gate, 130 stopped by Ctrl-C.
"""

import sys

from kpi_assets.interrupts import kept_interrupts

HELD = 3  # exit code
STOPPED = 130  # exit code after Ctrl-C, the one that shells use


def main() -> None:
    """Run a command. Ctrl-C prints one sentence, also while the modules of the command are still being imported."""
    try:
        with kept_interrupts():
            from kpi_assets.cli.app import main as command  # noqa: PLC0415

            command()
    except KeyboardInterrupt:
        sys.stderr.write("error: Stopped.\n")
        sys.exit(STOPPED)
