"""The audit names locked packages with known vulnerabilities; without an answer it says so, and passes."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import pytest

from kpi_assets.settings import CHECKOUT
from supply_chain.audit import NoAnswerError, vulnerabilities
from supply_chain.lock import read

DIGEST = "0" * 64


class Service:
    """A stand-in for the service of OSV."""

    def __init__(self) -> None:
        service, self.answer, self.asked, self.pause = self, b"", list[Any](), 0.0

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                service.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                sleep(service.pause)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(service.answer)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "lock"
    path.write_text("".join(f"{name}==1.0 \\\n    --hash=sha256:{DIGEST}\n    # via x\n" for name in ("good", "bad")))
    return path


def audit(lock: Path, url: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "supply_chain.audit", lock]
    done = subprocess.run(
        command, cwd=CHECKOUT, env={"OSV_URL": url}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_a_package_with_a_known_vulnerability_fails_and_is_named(service: Service, lock: Path) -> None:
    service.answer = b'{"results": [{}, {"vulns": [{"id": "GHSA-1"}, {"id": "PYSEC-2"}]}]}'
    code, said = audit(lock, service.url)
    assert code == 1
    assert said == (
        f"bad 1.0 has known vulnerabilities: update it in {lock}, or accept it in supply_chain/audit.py: "
        "https://osv.dev/vulnerability/GHSA-1, https://osv.dev/vulnerability/PYSEC-2\n"
    )
    [asked] = service.asked
    assert asked["queries"] == [
        {"package": {"name": name, "ecosystem": "PyPI"}, "version": "1.0"} for name in ("good", "bad")
    ]


def test_an_accepted_vulnerability_passes(service: Service, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service.answer = b'{"results": [{}, {"vulns": [{"id": "GHSA-1"}, {"id": "PYSEC-2"}]}]}'
    monkeypatch.setattr("supply_chain.audit.ACCEPTED", {"GHSA-1": "never reached"})
    assert vulnerabilities(read(lock), service.url) == {"bad 1.0": ["PYSEC-2"]}


def test_packages_without_known_vulnerabilities_print_nothing(service: Service, lock: Path) -> None:
    service.answer = b'{"results": [{}, {}]}'
    assert audit(lock, service.url) == (0, "")


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b'{"results": []}', b'{"message": "no"}'])
def test_an_answer_that_is_unusable_is_reported_and_passes(service: Service, lock: Path, answer: bytes) -> None:
    service.answer = answer
    code, said = audit(lock, service.url)
    assert code == 0
    assert said.startswith("Not audited for known vulnerabilities: OSV's service does not answer (")
    assert said.count("\n") == 1


def test_a_missing_network_is_reported_and_passes(lock: Path) -> None:
    said = (0, "Not audited for known vulnerabilities: OSV's service does not answer (URLError).\n")
    assert audit(lock, "http://127.0.0.1:9/") == said
    assert audit(lock, "http://no-such-host.invalid/") == said


def test_a_slow_service_is_given_up(service: Service, lock: Path) -> None:
    service.pause = 2.0
    begun = perf_counter()
    with pytest.raises(NoAnswerError, match=r"nothing came within 0 s|TimeoutError"):
        vulnerabilities(read(lock), service.url, seconds=0.2)
    assert perf_counter() - begun < 1.5
