"""`python -m bench.sensor`: a tick of Instacart's sensor over 10,000 load_dates of five objects each.

Makes servers and a made-up past (history.py) in a folder of its own, most of it published, some of it new, replaced,
held, failed, incomplete or of other SQL. Then Dagster evaluates the sensor twice in a process of its own: the first
tick must ask for a run of exactly those load_dates that need one, the second for none; its time and the process's
peak memory are told. Exits with 1 where it asked for other runs.
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
    """Make the place where there is none yet, and start the process that is measured."""
    asked = argparse.ArgumentParser(prog="python -m bench.sensor", description=__doc__)
    asked.add_argument("--home", type=Path, default=Path(".bench/sensor"), help="folder of servers and objects; kept")
    asked.add_argument("--load-dates", type=int, default=10_000)
    asked.add_argument("--tick", action="store_true", help=argparse.SUPPRESS)
    options = asked.parse_args()
    days = history.days_of(options.load_dates)
    if options.tick:
        tick([str(day) for number, day in enumerate(days) if history.kind(number) in history.IN_NEED_OF_A_RUN])
        return
    shutil.rmtree(options.home, ignore_errors=True)  # the past ends yesterday: that of another day is of no use
    sql = options.home.resolve() / "sql"
    shutil.copytree(default_sql_dir(), sql)
    since(sql / "instacart" / "pipeline.yaml", days[0])
    with Stack(options.home.resolve() / "home") as stack:
        os.environ.update(stack.environment(), KPI_SQL_DIR=str(sql))
        out.print(f"writing {len(days):,} load_dates of five objects, and what became of them ...")
        history.write_objects(stack.make_bucket("kpi-instacart"), load_pipelines(sql)["instacart"], days)
        history.write_history(days)
        command = [sys.executable, "-m", "bench.sensor", "--tick", "--load-dates", str(options.load_dates)]
        code = subprocess.run(command, check=False).returncode
    sys.exit(code)


def since(pipeline_yaml: Path, first: date) -> None:
    """Let the pipeline begin with a load_date."""
    lines = pipeline_yaml.read_text().splitlines()
    changed = [f"start_date: {first}" if line.startswith("start_date:") else line for line in lines]
    pipeline_yaml.write_text("\n".join(changed) + "\n")


def tick(wanted: list[str]) -> None:
    """Two ticks in this process, which does nothing else."""
    defs = build_defs({"s3": plain_s3})
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, repository_def=defs.get_repository_def())
        sensor = defs.resolve_sensor_def("instacart_sensor")
        for name, expected in (("first", wanted), ("second", [])):
            began, spent = time.monotonic(), time.process_time()
            told = sensor.evaluate_tick(context)
            seconds, cpu = time.monotonic() - began, time.process_time() - spent
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            asked = [request.partition_key for request in told.run_requests or []]
            out.print(
                f"{name} tick: {seconds:.1f} s, of it {cpu:.1f} s of CPU here; peak memory {peak:.0f} MB;", end=" "
            )
            out.print(
                f"runs asked for: {len(asked)}, {'exactly those needed' if asked == expected else 'not those needed'}"
            )
            if asked != expected:
                sys.exit(1)


if __name__ == "__main__":
    main()
