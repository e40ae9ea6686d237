"""Break modules one mutant at a time and run the tests that belong to each: what survives is not tested.

`python -m kpi_assets_tests.mutants MODULE… [--sample N | --together N] [--seed S] [--again FILE] [--nightly]`: a MODULE
is `warehouse/audit`, or a package, `warehouse`. `--together` draws N mutants of all modules, each with the same chance,
and estimates the score of each package. With `--again`, FILE is the output of such a run: its survivors are tried once
more. Works on a copy of the checkout in a temporary folder.
"""

import argparse
import math
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
SURE = 1.96  # standard deviations of a normal distribution that hold 95 % of it
NO_TESTS = 5  # how pytest ends if it is to run no test of the files
OUTCOMES = {True: "survived", False: "killed", None: "timed out"}  # by whether the tests pass; None if they do not end


class Copy:
    """A copy of the checkout whose modules are broken and restored."""

    def __init__(self, folder: Path, *, nightly: bool) -> None:
        self._which = () if nightly else ("-m", "not nightly")
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
            [*command, *self._which, *(f"kpi_assets_tests/{file}" for file in tests)],
            cwd=self.root,
            env={**os.environ, "KPI_TEST_EXAMPLES": "all", "PYTHONPATH": str(self.root), "TMPDIR": str(self._scratch)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return process.wait(limit) in {0, NO_TESTS}
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
    """Return the named modules, those of a package and of the packages in it in the order of their names."""
    package, found = ROOT / "kpi_assets", []
    for name in names:
        paths = sorted((package / name).rglob("*.py")) if (package / name).is_dir() else [package / f"{name}.py"]
        found += [str(path.relative_to(package).with_suffix("")) for path in paths if path.name != "__init__.py"]
    return found


def sampled(module: str, source: str, count: int, seed: int) -> list[Mutant]:
    """Return `count` mutants of a module, the same for a seed; all of them if `count` is 0."""
    mutants = mutants_of(source)
    if 0 < count < len(mutants):
        mutants = sorted(random.Random(f"{seed} {module}").sample(mutants, count))
    return mutants


def drawn(sources: Mapping[str, str], count: int, seed: int) -> dict[str, list[Mutant]]:
    """Return `count` mutants of all modules together, by module; each has the same chance, the same for a seed."""
    every = [(module, mutant) for module, source in sources.items() for mutant in mutants_of(source)]
    chosen = random.Random(seed).sample(every, min(count, len(every)))
    return {module: sorted(mutant for name, mutant in chosen if name == module) for module in sources}


def interval(noticed: int, whole: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of the share that is killed of all mutants, if so many of a sample are."""
    share, weight = noticed / whole, SURE**2 / whole
    middle, half = share + weight / 2, SURE * math.sqrt((share * (1 - share) + weight / 4) / whole)
    return (middle - half) / (1 + weight), (middle + half) / (1 + weight)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextmanager
def copied(*, nightly: bool) -> Iterator[Copy]:
    folder = Path(tempfile.mkdtemp(prefix="kpi-mutants-"))
    try:
        folder.chmod(0o755)  # servers may run under another account
        yield Copy(folder, nightly=nightly)
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


def report(scores: Mapping[str, Counter[str]], *, estimated: bool) -> None:
    """Print the share of killed mutants by module; if it is `estimated`, by package, and with its interval."""
    if estimated:
        rooms: dict[str, Counter[str]] = {}
        for module, counts in scores.items():
            rooms.setdefault(module.split("/")[0], Counter()).update(counts)
        scores = rooms
    for module, counts in [*scores.items(), ("together", sum(scores.values(), Counter()))]:
        noticed, whole = counts["killed"] + counts["timed out"], counts.total()
        share = f"{noticed / whole:4.0%}" if whole else "   -"
        between = "  (95 %: {:.0%} to {:.0%})".format(*interval(noticed, whole)) if estimated and whole else ""
        say(f"{module:24} {share}  {noticed} of {whole} killed, {counts['timed out']} of them by time{between}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m kpi_assets_tests.mutants")
    parser.add_argument("modules", nargs="+", help="such as warehouse/audit, or warehouse for all in it")
    how_many = parser.add_mutually_exclusive_group()
    how_many.add_argument("--sample", type=int, default=0, help="mutants of each module; 0 is all")
    how_many.add_argument("--together", type=int, default=0, help="mutants of all modules, each with the same chance")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--again", type=Path, help="what an earlier run printed: only its survivors are tried")
    parser.add_argument("--nightly", action="store_true", help="run the nightly tests, too")
    options = parser.parse_args()
    survivors = options.again and {line for line in options.again.read_text().splitlines() if line[:8] == "survived"}
    tests = {module: files_of(module, ROOT / "kpi_assets_tests") for module in modules_of(options.modules)}
    if lacking := [module for module, files in tests.items() if not files]:
        sys.exit(f"No tests are known of {', '.join(lacking)}: name them in {Path(__file__).parent / 'mapping.py'}.")
    scores: dict[str, Counter[str]] = {}
    took: dict[str, float] = {}
    began = time.monotonic()
    with copied(nightly=options.nightly) as copy:
        sources = {module: copy.read(module) for module in tests}
        if options.together:
            mutants = drawn(sources, options.together, options.seed)
        else:
            mutants = {module: sampled(module, sources[module], options.sample, options.seed) for module in tests}
        for module, files in tests.items():
            lines = {
                mutant: f"kpi_assets/{module}.py:{mutant.line}  {mutant.described(sources[module])}"
                for mutant in mutants[module]
            }
            tried = [each for each in lines if survivors is None or f"{'survived':9}  {lines[each]}" in survivors]
            scores[module] = Counter(killed=len(lines) - len(tried))
            for mutant, outcome in outcomes(copy, module, files, tried, took):
                scores[module][outcome] += 1
                say(f"{outcome:9}  {lines[mutant]}")
    sample = f"{options.together} together" if options.together else options.sample or "all"
    say(f"\nseed {options.seed}, sample {sample}, {time.monotonic() - began:.0f} s")
    report(scores, estimated=options.together > 0)


if __name__ == "__main__":
    main()
