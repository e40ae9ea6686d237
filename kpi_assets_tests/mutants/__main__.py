"""Break modules one mutant at a time and run the tests that belong to each: what survives is not tested.

`python -m kpi_assets_tests.mutants MODULE… [--sample N] [--seed S] [--again FILE]`: a MODULE is `warehouse/audit`, or a
package, `warehouse`. With `--again`, FILE is the output of such a run: its survivors are tried once more. Works on a
copy of the checkout in a temporary folder.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from kpi_assets_tests.mutants.mapping import files_of
from kpi_assets_tests.mutants.mutate import Mutant, mutants_of

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("kpi_assets", "kpi_assets_tests", "bench", "deploy", "docs", "sql")
SLOWER = 4  # a mutant hangs after this many times the usual time of the tests
LEAST = 30.0  # seconds that a mutant gets at least
OUTCOMES = {True: "survived", False: "killed", None: "timed out"}  # by whether the tests pass; None if they do not end


class Copy:
    """A copy of the checkout whose modules are broken and restored."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "copy"
        self._scratch = folder / "scratch"
        self._scratch.mkdir()
        self._changes = 0
        for name in COPIED:
            shutil.copytree(ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ROOT.glob("*.*"):
            if file.is_file():
                shutil.copy(file, self.root / file.name)

    def read(self, module: str) -> str:
        """Return the source of a module."""
        return (self.root / "kpi_assets" / f"{module}.py").read_text()

    def write(self, module: str, source: str) -> None:
        """Change a module. Each version gets another time, or Python would use the bytecode of the one before."""
        path = self.root / "kpi_assets" / f"{module}.py"
        path.write_text(source)
        self._changes += 1
        os.utime(path, (self._changes, self._changes))

    def passes(self, tests: Sequence[str], limit: float) -> bool | None:
        """Return whether the tests pass; None if they do not end within `limit` seconds."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", "--durations=0"]
        process = subprocess.Popen(
            [*command, *(f"kpi_assets_tests/{file}" for file in tests)],
            cwd=self.root,
            env={**os.environ, "KPI_TEST_EXAMPLES": "all", "PYTHONPATH": str(self.root), "TMPDIR": str(self._scratch)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return process.wait(limit) == 0
        except subprocess.TimeoutExpired:
            return None
        finally:
            self._end(process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End every process of the tests and delete their files; servers are recognized by their folder."""
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for left in psutil.process_iter():
            with suppress(psutil.Error):
                if any(str(self._scratch) in word for word in left.cmdline()):
                    left.kill()
        for folder in self._scratch.iterdir():
            shutil.rmtree(folder, ignore_errors=True)


def modules_of(names: Sequence[str]) -> list[str]:
    """Return the named modules, those of a package in the order of their names."""
    package, found = ROOT / "kpi_assets", []
    for name in names:
        paths = sorted((package / name).glob("*.py")) if (package / name).is_dir() else [package / f"{name}.py"]
        found += [str(path.relative_to(package).with_suffix("")) for path in paths if path.name != "__init__.py"]
    return found


def sampled(module: str, source: str, count: int, seed: int) -> list[Mutant]:
    """Return `count` mutants of a module, the same for a seed; all of them if `count` is 0."""
    mutants = mutants_of(source)
    if 0 < count < len(mutants):
        mutants = sorted(random.Random(f"{seed} {module}").sample(mutants, count))
    return mutants


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextmanager
def copied() -> Iterator[Copy]:
    folder = Path(tempfile.mkdtemp(prefix="kpi-mutants-"))
    try:
        folder.chmod(0o755)  # servers may run under another account
        yield Copy(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def patience(copy: Copy, files: Sequence[str], took: dict[str, float]) -> float:
    """Return the seconds after which a mutant hangs; `took` keeps how long each file takes on the unchanged code.

    Ends the program if a test fails there.
    """
    for file in files:
        began = time.monotonic()
        if file not in took and not copy.passes([file], 600):
            sys.exit(f"kpi_assets_tests/{file} does not pass on the code as it is: mend that first.")
        took.setdefault(file, time.monotonic() - began)
    return max(LEAST, SLOWER * sum(took[file] for file in files))


def outcomes(
    copy: Copy, module: str, files: Sequence[str], mutants: Sequence[Mutant], took: dict[str, float]
) -> Iterator[tuple[Mutant, str]]:
    """Try mutants of a module one after another; yield the outcome of each."""
    source = copy.read(module)
    limit = patience(copy, files, took) if mutants else 0
    for mutant in mutants:
        copy.write(module, mutant.applied(source))
        yield mutant, OUTCOMES[copy.passes(files, limit)]
    copy.write(module, source)


def report(scores: Mapping[str, Counter[str]]) -> None:
    """Print the share of killed mutants by module."""
    for module, counts in [*scores.items(), ("together", sum(scores.values(), Counter()))]:
        noticed, whole = counts["killed"] + counts["timed out"], counts.total()
        share = f"{noticed / whole:4.0%}" if whole else "   -"
        say(f"{module:24} {share}  {noticed} of {whole} killed, {counts['timed out']} of them by time")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m kpi_assets_tests.mutants")
    parser.add_argument("modules", nargs="+", help="such as warehouse/audit, or warehouse for all in it")
    parser.add_argument("--sample", type=int, default=0, help="mutants of each module; 0 is all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--again", type=Path, help="what an earlier run printed: only its survivors are tried")
    options = parser.parse_args()
    survivors = options.again and {line for line in options.again.read_text().splitlines() if line[:8] == "survived"}
    tests = {module: files_of(module, ROOT / "kpi_assets_tests") for module in modules_of(options.modules)}
    if lacking := [module for module, files in tests.items() if not files]:
        sys.exit(f"No tests are known of {', '.join(lacking)}: name them in {Path(__file__).parent / 'mapping.py'}.")
    scores: dict[str, Counter[str]] = {}
    took: dict[str, float] = {}
    began = time.monotonic()
    with copied() as copy:
        for module, files in tests.items():
            source = copy.read(module)
            lines = {
                mutant: f"kpi_assets/{module}.py:{mutant.line}  {mutant.described(source)}"
                for mutant in sampled(module, source, options.sample, options.seed)
            }
            tried = [each for each in lines if survivors is None or f"{'survived':9}  {lines[each]}" in survivors]
            scores[module] = Counter(killed=len(lines) - len(tried))
            for mutant, outcome in outcomes(copy, module, files, tried, took):
                scores[module][outcome] += 1
                say(f"{outcome:9}  {lines[mutant]}")
    say(f"\nseed {options.seed}, sample {options.sample or 'all'}, {time.monotonic() - began:.0f} s")
    report(scores)


if __name__ == "__main__":
    main()
