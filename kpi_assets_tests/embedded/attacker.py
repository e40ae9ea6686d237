"""What another user of the machine tries against an embedded S3 that runs; test_attacks.py reads what came of it.

`python -m kpi_assets_tests.embedded.attacker WEED FOLDER HOME [--account NAME]` reads the ports of the S3 from its
input, tries everything, and prints the answers as one line of JSON. FOLDER is the attacker's own.
"""

import argparse
import contextlib
import encodings.idna  # noqa: F401  (who changes the account may not be able to import any more)
import http.client
import json
import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

from kpi_assets.embedded import pem

BODY = b"--x\r\nContent-Disposition: form-data; name=file; filename=f\r\n\r\nmine\r\n--x--\r\n"
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
SILENT = "no answer"
REQUESTS = {
    "volume.port": [("GET", "/1,0101637037d6"), ("POST", "/1,0101637037d6"), ("DELETE", "/1,0101637037d6")],
    "filer.port": [
        ("GET", "/buckets/"),
        ("GET", "/buckets/lake/secret.txt"),
        ("POST", "/buckets/lake/mine.txt"),
        ("DELETE", "/buckets/lake?recursive=true"),
    ],
    "master.port": [
        ("POST", "/submit"),
        ("POST", "/vol/grow?count=1"),
        ("GET", "/dir/assign"),
        ("POST", "/col/delete?collection=lake"),
        ("GET", "/vol/vacuum"),
    ],
    "s3.port": [
        ("GET", "/"),
        ("GET", "/lake/secret.txt"),
        ("PUT", "/lake/mine.txt"),
        ("DELETE", "/lake"),
        ("POST", "/?Action=CreateUser&UserName=me&Version=2010-05-08"),
        ("POST", "/?Action=AssumeRole&Version=2011-06-15"),
    ],
}
SHELL = "fs.ls /buckets\nfs.cat /buckets/lake/secret.txt\nfs.rm -rf /buckets/lake\ns3.user.list\nvolume.list\nexit\n"


def answer(port: int, method: str, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, BODY if method in {"POST", "PUT"} else None, FORM if method == "POST" else {})
        got = connection.getresponse()
        return f"{got.status} {got.read(2000).decode(errors='replace')}"
    except (OSError, http.client.HTTPException):
        return SILENT
    finally:
        connection.close()


def shell(weed: Path, folder: Path, ports: dict[str, int], pair: tuple[str, str] | None) -> str:
    """Say what the administrator's shell says, without a certificate or with a pair of the attacker's own."""
    conf = folder / ("with" if pair else "without")
    conf.mkdir(exist_ok=True)
    text = ""
    if pair:
        (conf / "cert.pem").write_text(pair[0])
        (conf / "key.pem").write_text(pair[1])
        parts = ("client", "master", "filer", "volume")
        lines = [f'[grpc]\nca = "{conf}/cert.pem"']
        lines += [f'[grpc.{part}]\ncert = "{conf}/cert.pem"\nkey = "{conf}/key.pem"' for part in parts]
        text = '[jwt.signing]\nkey = "mine"\n[jwt.filer_signing]\nkey = "mine"\n' + "\n".join(lines)
    (conf / "security.toml").write_text(text)
    return administrator(weed, conf, ports, 4)


def administrator(weed: Path, conf: Path, ports: dict[str, int], seconds: float) -> str:
    """Run the shell with a folder of configuration, for at most so many seconds."""
    command = [
        weed,
        f"-config_dir={conf}",
        "shell",
        f"-master=127.0.0.1:{ports['master.port']}.{ports['master.port.grpc']}",
        f"-filer=127.0.0.1:{ports['filer.port']}.{ports['filer.port.grpc']}",
    ]
    process = subprocess.Popen(
        command,
        env={"HOME": str(conf)},
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        return process.communicate(SHELL, timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0]


def opened(path: Path) -> str:
    try:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(str(path))
    except OSError as error:
        return type(error).__name__
    return "connected"


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        return type(error).__name__


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("weed", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("home", type=Path)
    parser.add_argument("--account")
    options = parser.parse_args()
    ports: dict[str, int] = json.loads(sys.stdin.readline())
    if options.account:
        entry = pwd.getpwnam(options.account)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    sockets = [path for port in ports.values() for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")]
    found = {
        "requests": {
            f"{name} {method} {path}": answer(ports[name], method, path)
            for name, requests in REQUESTS.items()
            for method, path in requests
        },
        "shell": shell(options.weed, options.folder, ports, None),
        "shell with a pair of its own": shell(options.weed, options.folder, ports, pem.pair(b"attacker")),
        "sockets": {path.name: opened(path) for path in sockets},
        "files": {
            name: read(options.home / name)
            for name in ("s3-conf/security.toml", "s3-conf/key.pem", "s3-data/vol_dir.uuid", "credentials.json")
        },
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
