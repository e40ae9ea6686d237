"""Readers of `kpi serve` for bench.surface: so many connections that stay open, each asking again when it is answered.

`python -m bench.readers URL PATH` prints one JSON object: answers, errors, seconds and milliseconds. With `--rows` each
answer is parsed, and all that its publish was said to consist of is printed, by publish.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class Readers:
    """What all connections share: the request, and what was answered."""

    def __init__(self, options: argparse.Namespace) -> None:
        where = urlsplit(options.url)
        self.host, self.port = where.hostname or "", where.port or 80
        self.options = options
        self.head = f"GET {options.path} HTTP/1.1\r\nHost: {where.netloc}\r\nAccept-Encoding: {options.encoding}\r\n"
        self.statuses: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.milliseconds: list[float] = []
        self.publishes: dict[str, Counter[str]] = {}
        self.bytes = 0

    @property
    def is_over(self) -> bool:
        """Whether there are enough answers, and whoever is waited for has ended."""
        enough = len(self.milliseconds) >= self.options.requests
        return enough and (self.options.until is None or self.options.until.exists())

    async def connection(self) -> None:
        """Ask until it is over, on one connection that is opened again only after an error."""
        tag = ""
        while not self.is_over:
            try:
                reader, writer = await asyncio.open_connection(self.host, self.port)
                while not self.is_over:
                    tag = await self.ask(reader, writer, tag if self.options.tagged else "")
                writer.close()
            except (OSError, EOFError, ValueError) as error:
                self.errors[type(error).__name__] += 1
                await asyncio.sleep(0.1)

    async def ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tag: str) -> str:
        """Send one request, read its answer, and return its ETag."""
        known = f"If-None-Match: {tag}\r\n" if tag else ""
        begun = time.perf_counter()
        writer.write(f"{self.head}{known}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split()[1])
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        body = await reader.readexactly(int(fields.get("content-length", "0"))) if status != 304 else b""
        self.milliseconds.append(1000 * (time.perf_counter() - begun))
        self.statuses[status] += 1
        self.bytes += len(body)
        if self.options.rows and status == 200:
            rows = json.dumps(json.loads(body, parse_float=str)["rows"], sort_keys=True)
            self.publishes.setdefault(fields["x-publish-id"], Counter())[rows] += 1
        return fields.get("etag", "")

    def report(self, seconds: float) -> dict[str, Any]:
        """Return the figures."""
        taken = sorted(self.milliseconds)
        return {
            "answers": len(taken),
            "statuses": dict(self.statuses),
            "errors": dict(self.errors),
            "a_second": round(len(taken) / seconds, 1),
            "p50_ms": round(taken[len(taken) // 2], 1),
            "p99_ms": round(taken[int(len(taken) * 0.99)], 1),
            "bytes": self.bytes // max(1, self.statuses[200]),
            "publishes": {name: dict(rows) for name, rows in self.publishes.items()},
        }


async def main() -> None:
    """Read, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.readers", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("path")
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--encoding", default="gzip")
    parser.add_argument("--tagged", action="store_true", help="send the ETag back")
    parser.add_argument("--rows", action="store_true", help="collect the rows of each publish")
    parser.add_argument("--until", type=Path, help="read on until this file exists")
    readers = Readers(parser.parse_args())
    begun = time.perf_counter()
    await asyncio.gather(*(readers.connection() for _ in range(readers.options.connections)))
    print(json.dumps(readers.report(time.perf_counter() - begun)))


if __name__ == "__main__":
    asyncio.run(main())
