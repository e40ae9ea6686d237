"""Known vulnerabilities of the locked packages, as OSV's service knows them: `python -m supply_chain.audit LOCK`.

One question for all of them. Where the service does not answer it says so in one line and passes: whoever has no
network is not kept from working. Exit 1 where a package has a vulnerability that is not in ACCEPTED.
"""

import json
import os
import sys
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from typing import Any

from supply_chain.lock import Package, read

SERVICE = "https://api.osv.dev/v1/querybatch"
SECONDS = 15.0  # for which it is waited, whatever hangs
# Id -> why it does not concern this project.
ACCEPTED: Mapping[str, str] = {}


class NoAnswerError(Exception):
    """The service did not answer: why, in a few words."""


def vulnerabilities(packages: list[Package], service: str, seconds: float = SECONDS) -> dict[str, list[str]]:
    """The ids of each package that has some, by `name version`. Raises NoAnswerError."""
    queries = [
        {"package": {"name": package.name, "ecosystem": "PyPI"}, "version": package.version} for package in packages
    ]
    results = _asked(service, {"queries": queries}, seconds).get("results")
    if not isinstance(results, list) or len(results) != len(packages):
        raise NoAnswerError("what it answered is none of its answers")
    found = {
        f"{package.name} {package.version}": [str(each["id"]) for each in result.get("vulns", [])]
        for package, result in zip(packages, results, strict=True)
    }
    return {name: left for name, ids in found.items() if (left := [each for each in ids if each not in ACCEPTED])}


def _asked(service: str, question: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Its answer. In a thread, since looking up a name has no time limit of its own."""
    answers: list[Any] = []

    def ask() -> None:
        request = urllib.request.Request(service, json.dumps(question).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                answers.append(json.load(answer))
        except (OSError, HTTPException, ValueError) as error:
            answers.append(error)

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers:
        raise NoAnswerError(f"nothing came within {seconds:.0f} s")
    if not isinstance(answers[0], dict):
        raise NoAnswerError(type(answers[0]).__name__)
    return answers[0]


def main() -> int:
    """Say what was found."""
    [lock] = map(Path, sys.argv[1:])
    packages = read(lock)
    try:
        found = vulnerabilities(packages, os.environ.get("OSV_URL", SERVICE))
    except NoAnswerError as error:
        print(f"Not audited for known vulnerabilities: OSV's service does not answer ({error}).")
        return 0
    for name, ids in found.items():
        links = ", ".join(f"https://osv.dev/vulnerability/{each}" for each in ids)
        print(f"{name} has known vulnerabilities: update it in {lock}, or accept it in supply_chain/audit.py: {links}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
