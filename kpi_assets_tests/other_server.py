"""A PostgreSQL of another version in the place of the embedded one, for the tests of what talks to a warehouse.

KPI_TEST_POSTGRES_BIN names the folder of its programs. Its settings are those that initdb gives it: what a managed
server might have. The product does not know of it: it is named by KPI_POSTGRES_URL, as any server is.
"""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from kpi_assets.local import accounts
from kpi_assets.local.postgres import SUPERUSER
from kpi_assets_tests.machine import eventually, free_port

NAMED = os.environ.get("KPI_TEST_POSTGRES_BIN", "")
PASSWORD = "of-another-server"


def problem() -> str:
    """What is wrong with the folder that is named; empty where nothing is, or none is named."""
    lacking = [name for name in ("postgres", "initdb") if NAMED and not (Path(NAMED) / name).is_file()]
    return f"KPI_TEST_POSTGRES_BIN={NAMED} holds no {' and no '.join(lacking)}" if lacking else ""


def version() -> str:
    """What the programs call themselves, such as `postgres (PostgreSQL) 15.18`."""
    return subprocess.run([f"{NAMED}/postgres", "--version"], capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def other_server(folder: Path) -> Iterator[str]:
    """A server in a new folder; its superuser's URL."""
    programs, cluster = Path(NAMED).resolve(), folder / "cluster"
    folder.mkdir(parents=True)
    account = accounts.for_cluster(cluster)
    password = folder / "password"
    password.write_text(PASSWORD)
    if account:
        accounts.let_through(account, [cluster, programs / "postgres"])
        for path in (folder, password):
            os.chown(path, account.uid, account.gid)
    with (folder / "log").open("ab") as log:

        def begin(*command: object) -> "subprocess.Popen[bytes]":
            words: Sequence[str] = [str(word) for word in command]
            as_account = account.for_popen() if account else {}
            return subprocess.Popen(
                words, cwd="/", env={"LC_ALL": "C"}, stdout=log, stderr=log, start_new_session=True, **as_account
            )

        words = (f"--pgdata={cluster}", f"--username={SUPERUSER}", f"--pwfile={password}", "--auth=scram-sha-256")
        made = begin(programs / "initdb", *words, "--encoding=UTF8", "--locale=C")
        assert made.wait(120) == 0, (folder / "log").read_text()
        port = free_port()
        settings = ("listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=", "fsync=off")
        server = begin(programs / "postgres", "-D", cluster, *(word for each in settings for word in ("-c", each)))
        try:
            url = f"postgresql://{SUPERUSER}:{PASSWORD}@127.0.0.1:{port}/postgres"
            eventually(lambda: server.poll() is not None or _answers(url))
            assert server.poll() is None, (folder / "log").read_text()
            yield url
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True
