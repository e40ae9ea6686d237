"""The embedded S3: rclone, serving the folders of $KPI_HOME/s3 as buckets.

Belongs here: how rclone is started, asked and ended. Not here: reading and writing objects (sources/).
"""

import http.client
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from kpi_assets.embedded.home import Home
from kpi_assets.embedded.server import Answer, Launch, Server
from kpi_assets.errors import UserError

REGION = "us-east-1"
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def program() -> Path:
    """rclone, as its wheel puts it beside this Python; UserError where it is missing."""
    path = Path(sys.executable).parent / "rclone"
    if not path.is_file():
        raise UserError(
            "The embedded S3 is not installed: install kpi_assets[local], or set KPI_S3_BUCKET to a bucket of yours."
        )
    return path


class S3(Server):
    """The object store of one home."""

    name = "s3"
    title = "The embedded S3"
    endings = ((signal.SIGTERM, 10),)

    def check_installed(self) -> None:
        """Raise UserError when the wheel is not installed."""
        program()

    def __init__(self, place: Home):
        super().__init__(place)
        self.cache = place.etags

    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def is_main(self, arguments: Sequence[str]) -> bool:
        """Whether this is the rclone of our home."""
        return len(arguments) > 2 and Path(arguments[0]).name == "rclone" and str(self.home.etags) in arguments

    def prepare(self, port: int) -> Launch:
        """Nothing to write: rclone is told everything on its command line and in its environment."""
        keys = self.home.credentials
        identity = f"{keys.s3_access_key_id.get_secret_value()},{keys.s3_secret_access_key.get_secret_value()}"
        command = [
            str(program()),
            "serve",
            "s3",
            "lake:",
            f"--addr=127.0.0.1:{port}",
            # A change made by hand shows after this long; a listing that takes longer reads its folders anew each time.
            "--dir-cache-time=1s",
            "--poll-interval=0",
            "--cache-dir",
            str(self.home.etags),
        ]
        environment = {
            "RCLONE_CONFIG": "",  # no configuration file of the user's
            "RCLONE_AUTH_KEY": f'"{identity}"',
            # The ETag is the MD5 of the whole file: the hasher remembers it by size and time of the file, also between
            # starts; without it each GET, HEAD and LIST reads every file it names.
            "RCLONE_CONFIG_LAKE_TYPE": "hasher",
            "RCLONE_CONFIG_LAKE_REMOTE": str(self.home.buckets),
            "RCLONE_CONFIG_LAKE_HASHES": "md5",
            "RCLONE_CONFIG_LAKE_MAX_AGE": "off",
        }
        return Launch(command, environment)

    def ask(self) -> Answer:
        """List the buckets."""
        try:
            status = self._request("GET", "/")
        except (OSError, http.client.HTTPException):
            return Answer.SILENT
        return {200: Answer.READY, 403: Answer.REFUSED}.get(status, Answer.SILENT)

    def make_bucket(self, name: str) -> Path:
        """The folder of a bucket, made if missing, and visible to clients when this returns."""
        if not BUCKET.fullmatch(name):
            raise UserError(
                f"{name!r} cannot be the name of a bucket: take 3 to 63 lower-case letters, digits, dots and dashes."
            )
        folder = self.home.buckets / name
        if not folder.is_dir() and self._request("PUT", f"/{name}") != 200:
            self._fail(f"cannot make the bucket {name}")
        return folder

    def _request(self, method: str, path: str) -> int:
        """The status of one signed request, by hand: a boto3 client takes longer to make than both servers to start."""
        # Imported (in 0.1 s) while the servers are starting, and never where none is embedded.
        from botocore import auth, awsrequest, credentials  # noqa: PLC0415

        keys = self.home.credentials
        identity = credentials.Credentials(
            keys.s3_access_key_id.get_secret_value(), keys.s3_secret_access_key.get_secret_value()
        )
        request = awsrequest.AWSRequest(method, self.url() + path)
        auth.S3SigV4Auth(identity, "s3", REGION).add_auth(request)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, path, headers=dict(request.headers.items()))
            return connection.getresponse().status
        finally:
            connection.close()
