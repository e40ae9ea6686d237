"""The embedded S3: SeaweedFS, which keeps what AWS promises about conditional requests, versions and ranges.

Belongs here: how it is started, probed and stopped, and its buckets. Not here: its configuration (weed.py), the objects
of a home of an earlier version (rclone_home.py), and reading and writing objects (sources/).
"""

import http.client
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from kpi_assets.embedded import rclone_home, weed
from kpi_assets.embedded.home import Home
from kpi_assets.embedded.server import PAUSE, PORTS, Answer, Launch, Server, is_free
from kpi_assets.errors import UserError

REGION = "us-east-1"
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
TIMEOUT = 5  # seconds for an answer to one request
VACUUM = 300  # seconds to free the bytes of deleted objects
QUIET = 2  # times in a row that a vacuum finds nothing: one is passed over while SeaweedFS vacuums by itself
PATIENCE = 60  # seconds for a new bucket: on a machine that is busy with other things, one request may be too late


class S3(Server):
    """The object store of one home."""

    name = "s3"
    title = "The embedded S3"
    stop_signals = ((signal.SIGKILL, 5),)  # what it has acknowledged survives; SIGTERM takes a second and saves nothing

    def __init__(self, place: Home, program: Path | None = None):
        super().__init__(place)
        self._program = program

    def check_installed(self) -> None:
        """Raise UserError if the program is not installed."""
        weed.program(self._program)

    def url(self) -> str:
        """Return the URL of the endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def is_main(self, arguments: Sequence[str]) -> bool:
        """Return whether a process with these arguments is the SeaweedFS of this home, or the rclone it once had."""
        is_weed = "mini" in arguments and f"-dir={self.home.s3_data}" in arguments
        return is_weed or rclone_home.is_rclone(arguments, self.home)

    def launch(self) -> None:
        """Start the server unless it runs. Raises UserError as Server does, and if the home's old rclone still runs."""
        super().launch()
        process = self.process()
        if process is not None and rclone_home.is_rclone(process.cmdline(), self.home):
            raise UserError(
                f"The S3 of an earlier version of kpi_assets (rclone, process {process.pid}) runs in {self.home.root}: "
                "run `kpi down`, then try again."
            )

    def await_ready(self) -> None:
        """Wait until the server answers, and move the objects of a home of rclone's into it."""
        super().await_ready()
        rclone_home.move(self.home, self.make_bucket, self._client)

    def may_use(self, port: int) -> bool:
        """Return whether the port is free, and no other user waits on a socket of that port."""
        return is_free(port) and not weed.foreign_socket(port)

    def prepare(self, port: int) -> Launch:
        """Write the keys with which its parts know each other."""
        weed.write_configuration(self.home)
        others = (number for number in (*range(port + 1, PORTS.stop), *range(PORTS.start, port)))
        free = (number for number in others if self.may_use(number))
        inner = [next(free) for _ in weed.INNER_PORTS]
        command = weed.command(weed.program(self._program), self.home, port, inner)
        return Launch(command, weed.environment(self.home), inner_ports=inner)

    def sweep(self, ports: Sequence[int]) -> None:
        """Remove its sockets outside of the home."""
        weed.remove_sockets(ports)

    def probe(self) -> Answer:
        """List the buckets."""
        try:
            status = self._request("GET", "/")
        except (OSError, http.client.HTTPException):
            return Answer.SILENT
        return {200: Answer.READY, 403: Answer.REFUSED}.get(status, Answer.SILENT)

    def make_bucket(self, name: str) -> None:
        """Make a bucket if it is missing. Clients see it when this returns."""
        if not BUCKET.fullmatch(name):
            raise UserError(
                f"{name!r} cannot be the name of a bucket: use 3 to 63 lower-case letters, digits, dots and dashes."
            )
        end = time.monotonic() + PATIENCE
        while self._put_bucket(name) not in {200, 409}:  # 409: it is there already
            if self.process() is None or time.monotonic() > end:
                self._fail(f"cannot make the bucket {name}")
            time.sleep(PAUSE)

    def _put_bucket(self, name: str) -> int | None:
        """Return the status of the answer, None if there is none."""
        try:
            return self._request("PUT", f"/{name}")
        except (OSError, http.client.HTTPException):
            return None

    def keys(self, bucket: str, folder: str) -> list[str]:
        """Return the first thousand keys in a folder, whose name ends in a slash, in order. Raises OSError."""
        query = urlencode({"list-type": "2", "prefix": folder}, quote_via=quote)
        status, answer = self._send("GET", f"/{bucket}?{query}")
        if status != 200:
            raise OSError(f"the S3 answers a request for the keys in {folder} with status {status}")
        return [key.text or "" for key in ElementTree.fromstring(answer).iterfind(".//{*}Key")]  # noqa: S314  our own server

    def remove(self, bucket: str, key: str) -> None:
        """Remove an object. Raises OSError."""
        status, _ = self._send("DELETE", f"/{bucket}/{quote(key)}")
        if status not in {200, 204}:
            raise OSError(f"the S3 answers a request to remove {key} with status {status}")

    def vacuum(self, bucket: str) -> None:
        """Free the bytes of the objects of a bucket that were replaced or deleted before this call. Raises UserError.

        SeaweedFS marks them as deleted, one after another, about a second later. It writes the files of a bucket anew
        without what is marked when that is a third of a file, which may never be. So an object is deleted last here:
        once its bytes are gone, all the others are marked.
        """
        end, quiet = time.monotonic() + VACUUM, 0
        file, last = self._delete_last(bucket)
        while quiet < QUIET:
            if time.monotonic() > end:
                self._fail(f"does not free the bytes of deleted objects of {bucket} within {VACUUM} s")
            before = self._files(bucket)
            self._vacuum_once(bucket)
            if _has(file, last):
                time.sleep(PAUSE)
            else:
                quiet = quiet + 1 if self._files(bucket) == before else 0

    def _delete_last(self, bucket: str) -> tuple[Path, bytes]:
        """Put an object and delete it; return the file that has its bytes, and these. Raises UserError."""
        body = secrets.token_hex(16).encode()
        key = f"vacuum/{body.decode()}"
        try:
            status, _ = self._send("PUT", f"/{bucket}/{key}", body)
            files = self._paths(bucket) if status == 200 else []
            file = next((path for path in files if _has(path, body)), None)
            if file is None:
                raise OSError(f"it answers a request to write an object with status {status}")
            self.remove(bucket, key)
        except (OSError, http.client.HTTPException) as error:
            raise UserError(f"The bytes of deleted objects of {bucket} could not be freed: {error}.") from error
        return file, body

    def _paths(self, bucket: str) -> list[Path]:
        """Return the files with the bytes of a bucket's objects, the last written first."""
        return sorted(self.home.s3_data.glob(f"{bucket}_*.dat"), key=lambda path: path.stat().st_mtime, reverse=True)

    def _files(self, bucket: str) -> dict[str, int]:
        """Return the names of these files, each with a number that the file keeps until it is written anew."""
        return {path.name: path.stat().st_ino for path in self._paths(bucket)}

    def _vacuum_once(self, bucket: str) -> None:
        """Write the files of a bucket anew that have deleted bytes. Raises UserError."""
        commands = f"lock\nvolume.vacuum -collection={bucket} -garbageThreshold=0.000000001\nunlock\n"
        environment = {**weed.environment(self.home), "TMPDIR": str(self.home.s3_conf)}
        inner = self._read_record().get("inner_ports", [])
        command = weed.shell(weed.program(self._program), self.home, inner)
        try:
            said = subprocess.run(  # noqa: S603
                command, input=commands, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise UserError(
                f"The bytes of deleted objects of {bucket} could not be freed ({type(error).__name__}): run `kpi up`, "
                "then give the command again."
            ) from error
        if wrong := [line for line in (said.stdout + said.stderr).splitlines() if "error" in line.lower()]:
            raise UserError(f"The bytes of deleted objects of {bucket} could not be freed: {wrong[0].strip()}.")

    def _client(self) -> Any:
        import boto3  # noqa: PLC0415  takes half a second, and hardly anybody needs it here

        keys = self.home.credentials
        return boto3.Session().client(
            "s3",
            endpoint_url=self.url(),
            region_name=REGION,
            aws_access_key_id=keys.s3_access_key_id.get_secret_value(),
            aws_secret_access_key=keys.s3_secret_access_key.get_secret_value(),
        )

    def _request(self, method: str, path: str) -> int:
        return self._send(method, path)[0]

    def _send(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send one signed request; return status and body. A boto3 client takes longer to create than the servers."""
        # The import takes 0.1 s. Here it overlaps with the start of the servers, and is skipped if none is embedded.
        from botocore import auth, awsrequest, credentials  # noqa: PLC0415

        keys = self.home.credentials
        identity = credentials.Credentials(
            keys.s3_access_key_id.get_secret_value(), keys.s3_secret_access_key.get_secret_value()
        )
        request = awsrequest.AWSRequest(method, self.url() + path, data=body)
        auth.S3SigV4Auth(identity, "s3", REGION).add_auth(request)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request(method, path, body, headers=dict(request.headers.items()))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def _has(path: Path, body: bytes) -> bool:
    """Return whether a file has these bytes."""
    try:
        return body in path.read_bytes()
    except FileNotFoundError:  # SeaweedFS is replacing it
        return True
