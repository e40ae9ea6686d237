"""`python -m kpi_assets.instance.startup`: prepare the Dagster instance before `kpi up` starts its services.

Makes the instance's tables, closes the runs of dead processes, which the daemon then tries again, and prints the name
of each pipeline whose automation is off.
"""

from kpi_assets.instance.processes import close_dead_runs
from kpi_assets.instance.starters import switched_on
from kpi_assets.instance.storage import open_instance
from kpi_assets.model.tree import load_sound
from kpi_assets.settings import settings

if __name__ == "__main__":
    with open_instance() as instance:
        close_dead_runs(instance)
        for name, pipeline in load_sound(settings().sql_dir, settings().min_rows)[0].items():
            if not switched_on(instance, pipeline):
                print(name)  # noqa: T201
