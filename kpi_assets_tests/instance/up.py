"""`kpi up` with stand-ins for the services of Dagster, which take seconds to start; everything else is real."""

from pathlib import Path

from kpi_assets.cli import main
from kpi_assets.instance import services

STAND_IN = [str(Path(__file__).with_name("stand_in.py"))]

services.commands = lambda port: {
    services.WEB: [*STAND_IN, "web", str(port)],
    services.DAEMON: [*STAND_IN, "daemon"],
    services.PAGES: [*STAND_IN, "pages"],
}
services.landing_command = lambda pipeline: [*STAND_IN, "landing"]
services.LANDING_PAUSE = 0.1
services.serve = lambda *words, serve=services.serve: serve(*words[:4], with_streams=["shop"])
services.prepare_instance = lambda settings, ended: []
services.CODE_SERVER_PATIENCE = 0.2

if __name__ == "__main__":
    main()
