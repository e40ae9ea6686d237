"""The certificate of the parts of the embedded S3, as OpenSSL reads and uses it."""

import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from kpi_assets.embedded import pem


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return written(tmp_path, b"secret")


def written(folder: Path, secret: bytes) -> tuple[Path, Path]:
    certificate, key = folder / f"{secret.decode()}.cert", folder / f"{secret.decode()}.key"
    for path, text in zip((certificate, key), pem.pair(secret), strict=True):
        path.write_text(text)
    return certificate, key


def test_the_same_secret_gives_the_same_pair_and_another_another() -> None:
    assert pem.pair(b"secret") == pem.pair(b"secret")
    assert not {*pem.pair(b"secret")} & {*pem.pair(b"other")}


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(trusted: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(trusted))
    context.load_cert_chain(certificate, key)
    return context


def met(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> bytes:
    """What the client receives from the server, if both accept each other."""
    near, far = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(far, server_side=True) as wrapped:
                wrapped.sendall(b"hello")
        except (ssl.SSLError, OSError):
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(near, server_hostname=host) as wrapped:
            return wrapped.recv(5)
    finally:
        near.close()
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_two_parts_with_the_pair_accept_each_other(files: tuple[Path, Path], host: str) -> None:
    assert met(server_context(*files), client_context(files[0], *files), host) == b"hello"


def test_another_host_is_not_accepted(files: tuple[Path, Path]) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        met(server_context(*files), client_context(files[0], *files), "example.org")


def test_somebody_with_another_pair_is_not_accepted(files: tuple[Path, Path], tmp_path: Path) -> None:
    theirs = written(tmp_path, b"theirs")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        assert met(server_context(*files), client_context(files[0], *theirs), "localhost") == b"hello"
    with pytest.raises(ssl.SSLCertVerificationError, match=r"self.signed"):
        met(server_context(*theirs), client_context(files[0], *files), "localhost")


def test_many_secrets_give_a_sound_pair(tmp_path: Path) -> None:
    """Numbers of some secrets begin with a bit that DER must not read as a sign."""
    for number in range(16):
        pair = written(tmp_path, f"secret {number}".encode())
        assert met(server_context(*pair), client_context(pair[0], *pair), "127.0.0.1") == b"hello"


def test_it_is_an_authority_and_never_expires(files: tuple[Path, Path]) -> None:
    shown = subprocess.run(
        ["openssl", "x509", "-in", files[0], "-noout", "-text"], capture_output=True, text=True, check=True
    ).stdout
    for line in ("Not After : Dec 31 23:59:59 9999 GMT", "CA:TRUE", "DNS:localhost", "NIST CURVE: P-256"):
        assert line in shown
