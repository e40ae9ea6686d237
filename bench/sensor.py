"""`python -m bench.sensor`: measure a tick of Instacart's sensor over 10,000 load_dates of five objects each.

Makes servers and a synthetic history (history.py) in a folder of its own: most load_dates are published, some are new,
replaced, held, failed, incomplete or built from other SQL. Then Dagster evaluates the sensor twice in a separate
process. The first tick must request a run of exactly those load_dates that need one, the second must request none.
Prints the time and the process's peak memory. Exits with 1 if other runs were requested.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import dagster as dg
from rich.console import Console

from bench import history
from kpi_assets.assets.resources import plain_s3
from kpi_assets.definitions import build_defs
from kpi_assets.embedded.stack import Stack
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import default_sql_dir

out = Console(highlight=False)


def main() -> None:
    """Make servers and history, and start the process that is measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.sensor", description=__doc__)
    parser.add_argument("--home", type=Path, default=Path(".bench/sensor"), help="folder of servers and objects; kept")
    parser.add_argument("--load-dates", type=int, default=10_000)
    parser.add_argument("--tick", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    days = history.days_of(options.load_dates)
    if options.tick:
        tick([str(day) for number, day in enumerate(days) if history.state_of(number) in history.IN_NEED_OF_A_RUN])
        return
    shutil.rmtree(options.home, ignore_errors=True)  # the history ends yesterday, so one of another day is useless
    sql = options.home.resolve() / "sql"
    shutil.copytree(default_sql_dir(), sql)
    set_start_date(sql / "instacart" / "pipeline.yaml", days[0])
    with Stack(options.home.resolve() / "home") as stack:
        os.environ.update(stack.environment(), KPI_SQL_DIR=str(sql))
        out.print(f"writing {len(days):,} load_dates of five objects, and the records of their builds ...")
        history.write_objects(stack, load_pipelines(sql)["instacart"], days)
        history.write_history(days)
        command = [sys.executable, "-m", "bench.sensor", "--tick", "--load-dates", str(options.load_dates)]
        code = subprocess.run(command, check=False).returncode
    sys.exit(code)


def set_start_date(pipeline_yaml: Path, first: date) -> None:
    """Change the pipeline's `start_date` to a load_date."""
    lines = pipeline_yaml.read_text().splitlines()
    changed = [f"start_date: {first}" if line.startswith("start_date:") else line for line in lines]
    pipeline_yaml.write_text("\n".join(changed) + "\n")


def tick(wanted: list[str]) -> None:
    """Measure two ticks in this process, which does nothing else."""
    defs = build_defs({"s3": plain_s3})
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, repository_def=defs.get_repository_def())
        sensor = defs.resolve_sensor_def("instacart_sensor")
        for name, expected in (("first", wanted), ("second", [])):
            began, spent = time.monotonic(), time.process_time()
            result = sensor.evaluate_tick(context)
            seconds, cpu = time.monotonic() - began, time.process_time() - spent
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            requested = [request.partition_key for request in result.run_requests or []]
            out.print(f"{name} tick: {seconds:.1f} s, {cpu:.1f} s of it CPU here; peak memory {peak:.0f} MB;", end=" ")
            out.print(
                f"runs requested: {len(requested)}, "
                f"{'exactly those needed' if requested == expected else 'not those needed'}"
            )
            if requested != expected:
                sys.exit(1)


if __name__ == "__main__":
    main()
