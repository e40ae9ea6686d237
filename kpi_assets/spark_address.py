"""The address of Spark Connect: `sc://host:port/;name=value`, in which no secret may stand.

Belongs here: reading it, and why one is refused. Not here: a session there (lake/), and the login (settings.py).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import unquote

PORT = 15002  # where Spark Connect listens by default
_URL = re.compile(r"sc://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?(?:/(.*))?", re.DOTALL)
_PARAMETER = re.compile(r"([A-Za-z0-9_.-]+)=([^;\s]+)")
_SECRETS = re.compile(
    r"token|password|passwd|secret|credential|api.?key|access.?key|auth|bearer|jwt|^sig$|signature", re.IGNORECASE
)
FORM = "write sc://host:port, followed by /;name=value;name=value where the server wants more"


@dataclass(frozen=True)
class SparkAddress:
    """Where Spark Connect is, and what a session says to it first."""

    host: str
    port: int
    parameters: Mapping[str, str]

    @property
    def has_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.parameters.get("use_ssl", "false").lower() == "true"

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, so that nothing is sent over a network."""
        return is_loopback(self.host)

    @property
    def place(self) -> str:
        """Host and port, for people: a parameter may be nobody's business."""
        return f"{self.host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and no other.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "[::1]", "10.0.0.5", "spark.example.com")]
    [True, True, True, False, False]
    """
    try:
        return host.lower() == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def parse(text: str) -> SparkAddress | None:
    """Read an address; None for anything else.

    >>> parse("sc://spark.example.com/;use_ssl=true").port
    15002
    """
    found = _URL.fullmatch(text)
    if found is None:
        return None
    host, port, rest = found[1], int(found[2] or PORT), found[3] or ""
    if rest and not rest.startswith(";"):
        return None
    parts = [part for part in rest.split(";") if part]
    read = [_PARAMETER.fullmatch(part) for part in parts]
    if not 0 < port < 65_536 or not all(read):
        return None
    return SparkAddress(host, port, {each[1]: unquote(each[2]) for each in read if each})


def problem(text: str) -> str:
    """Return why a text is no address that a session may be opened at; empty if it is one. It quotes nothing."""
    if "@" in text.partition("/;")[0]:
        return "it has a user or a password: the login is KPI_SPARK_TOKEN"
    address = parse(text)
    if address is None:
        return FORM
    if any(_SECRETS.search(name) for name in address.parameters):
        return "it has a token, which others may read in an address: take it out, and set KPI_SPARK_TOKEN"
    if address.parameters.get("use_ssl", "true").lower() not in ("true", "false"):
        return "use_ssl is neither true nor false: write use_ssl=true, or leave it out"
    return ""


def login_problem(address: SparkAddress, *, has_token: bool, may_be_plain: bool) -> str:
    """Return why a session may not be opened at an address with or without a token; empty if it may."""
    if address.has_tls:
        return ""
    if not address.is_loopback and has_token:
        return "it would be sent in the clear: write use_ssl=true in KPI_SPARK_URL"
    if not address.is_loopback and not may_be_plain:
        return (
            "rows and statements would cross the network in the clear: write use_ssl=true, or set "
            "KPI_SPARK_PLAIN_TEXT=true if the network itself is private"
        )
    if has_token and address.host.lower() != "localhost":
        return "without TLS the client sends a token to the name localhost only: write that in KPI_SPARK_URL"
    return ""
