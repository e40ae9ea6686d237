"""A certificate for 127.0.0.1 that no authority has signed."""

import ssl
import subprocess
from pathlib import Path

from kpi_assets_tests.sources.api.scripted import Scripted


def make_certificate(folder: Path) -> Path:
    """Write a certificate with its key into a folder; the certificate alone is beside it, with .crt at its end."""
    path = folder / "own.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 -addext"
    files = ["-keyout", path, "-out", f"{path}.crt"]
    command = ["openssl", *words.split(), "subjectAltName=IP:127.0.0.1", *files]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def speak_tls(server: Scripted, certificate: Path) -> str:
    """Have a server speak TLS from now on, and return its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
    return server.url.replace("http:", "https:")
