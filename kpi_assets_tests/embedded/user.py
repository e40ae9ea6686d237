"""A process that uses the servers of a home: tests start several, kill them, and run them under other accounts.

`python -m kpi_assets_tests.embedded.user HOME [--account NAME] [--rounds N]` prints its environment in one line of JSON
when the servers answer, and ends when its input ends.
"""

import argparse
import encodings.idna  # noqa: F401  (who changes the account may not be able to import any more; so botocore below)
import json
import os
import pwd
import sys
from pathlib import Path

import psycopg
from botocore import auth, awsrequest, credentials  # noqa: F401

from kpi_assets.embedded.stack import embedded_servers
from kpi_assets.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--account")
    parser.add_argument("--rounds", type=int, default=0)
    options = parser.parse_args()
    if options.account:
        entry = pwd.getpwnam(options.account)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    for _ in range(options.rounds):
        with (
            embedded_servers(Settings(home=options.home)) as servers,
            psycopg.connect(servers.postgres.get_secret_value()) as connection,
        ):
            connection.execute("select 1")
    with embedded_servers(Settings(home=options.home)) as (_, stack):
        assert stack
        sys.stdout.write(json.dumps(stack.environment()) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
