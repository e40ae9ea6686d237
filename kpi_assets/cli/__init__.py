"""The `kpi` command: what a person types, and what they are told.

Belongs here: arguments, printing, exit codes. Not here: what a command does to data.
Exit codes: 0 all published, 1 failed or not landed, 2 wrong usage, 3 held by a gate, 130 stopped by Ctrl-C.
"""

import sys

HELD = 3
STOPPED = 130  # exit code after Ctrl-C, as shells have it


def main() -> None:
    """Run a command. Whoever presses Ctrl-C while its modules are still loaded reads one sentence too."""
    try:
        from kpi_assets.cli.app import main as command  # noqa: PLC0415

        command()
    except KeyboardInterrupt:
        sys.stderr.write("error: Stopped.\n")
        sys.exit(STOPPED)
