"""The simulated APIs of the shipped pipelines: one process that serves all of them, started where one is needed.

It is a server of the embedded stack like PostgreSQL and S3, and never runs without both: a simulated sale must not get
into a warehouse or a bucket of the user's own. Belongs here: whether it is needed, and how it is started, probed and
stopped. Not here: what it answers, and its databases (simulators/).
"""

import http.client
import json
import os
import signal
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence

from pydantic import SecretStr

from kpi_assets.embedded.home import ApiSecrets, Home
from kpi_assets.embedded.server import Answer, Launch, Server
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import CHECKOUT, Settings
from kpi_assets.simulators import databases
from kpi_assets.simulators.api import ENVIRONMENT, MODULE, SIMULATED, fingerprint, simulated_of

ApiNames = Mapping[str, Collection[str]]  # pipeline -> names of its APIs


class Apis(Server):
    """The simulated APIs of one home."""

    name = "apis"
    title = "The program of the simulated APIs"
    stop_signals = ((signal.SIGTERM, 10),)

    def __init__(self, place: Home):
        super().__init__(place)
        self.secrets_file = place.api_secrets_file

    def check_installed(self) -> None:
        """Do nothing: its libraries are those of the web UI."""

    def url(self, api: str) -> str:
        """Return the URL of an API."""
        return f"http://127.0.0.1:{self.port}/{api}"

    def secrets(self) -> ApiSecrets:
        """Return the secrets of the APIs."""
        return self.home.api_secrets(SIMULATED)

    def is_main(self, arguments: Sequence[str]) -> bool:
        """Return whether a process with these arguments is the program of this home."""
        return MODULE in arguments and str(self.home.root) in arguments

    def prepare(self, port: int) -> Launch:
        """Write nothing: the program gets its secrets in its environment."""
        environment = {
            ENVIRONMENT: json.dumps(self.secrets().revealed()),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")])),
        }
        return Launch([sys.executable, "-m", MODULE, str(self.home.root), str(port)], environment)

    def ensure_databases(self, server: SecretStr) -> None:
        """Make the databases of the APIs on the embedded PostgreSQL, which must answer, if they are missing."""
        databases.ensure_databases(server, self.secrets().password, SIMULATED.values())

    def probe(self) -> Answer:
        """Ask whether all APIs can read their databases, and whether the program has the secrets of this home."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            answer = connection.getresponse()
            said = json.loads(answer.read()) if answer.status == 200 else {}
        except (OSError, http.client.HTTPException, ValueError):
            return Answer.SILENT
        finally:
            connection.close()
        if answer.status != 200:
            return Answer.SILENT
        return Answer.READY if said.get("secrets") == fingerprint(self.secrets().revealed()) else Answer.REFUSED


def needed_apis(settings: Settings, pipelines: Iterable[Pipeline]) -> dict[str, list[str]]:
    """Return the APIs of these pipelines that must be simulated: those for which nobody names a URL.

    There are none unless the warehouse and S3 are both embedded.
    """
    if not (settings.embedded_postgres and settings.embedded_s3):
        return {}
    found = {}
    for pipeline in pipelines:
        named = settings.api_urls.get(pipeline.name, {})
        without_url = [name for name, api in pipeline.config.apis.items() if api.url is None and name not in named]
        if names := [name for name in simulated_of(pipeline.name) if name in without_url]:
            found[pipeline.name] = names
    return found


def merged(variable: str, ours: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return a variable of the environment whose JSON has our values for APIs beside the user's, as {name: value}.

    Names of variables may be in lower case: then the user's own name is kept, so that there are not two.
    """
    name = next((name for name in os.environ if name.upper() == variable), variable)
    theirs = json.loads(os.environ.get(name) or "{}")
    return {name: json.dumps({**theirs, **{key: {**theirs.get(key, {}), **each} for key, each in ours.items()}})}


def shadowing_variables(apis: ApiNames) -> list[str]:
    """Return the names of the user's variables that would count before ours, such as a secret without a URL."""
    ours = {
        f"{variable}__{pipeline}__{api}".upper()
        for variable in ("KPI_API_URLS", "KPI_API_SECRETS")
        for pipeline, names in apis.items()
        for api in names
    }
    return [name for name in os.environ if name.upper() in ours]
