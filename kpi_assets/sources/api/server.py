"""The server of an API: its words in pipeline.yaml, with the address and the secrets of this environment.

Not here: the words (model/api.py), and asking (fetch.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from kpi_assets.errors import UsageError
from kpi_assets.model.api import Api
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import Settings


@dataclass(frozen=True)
class Server:
    """An API with its address and its secrets."""

    pipeline: str
    name: str
    api: Api
    url: str
    secrets: Mapping[str, SecretStr]

    @classmethod
    def of(cls, pipeline: Pipeline, name: str, settings: Settings) -> "Server":
        """Return the server of an API of a pipeline. Raises UsageError if its address or a secret is not set."""
        api = pipeline.config.apis[name]
        shown = f"The API {name} of {pipeline.name}"
        url = url_of(pipeline, name, settings)
        if not url:
            raise UsageError(f"{shown} has no address: {how_to_name_url(pipeline, name)}.")
        there = settings.api_secrets.get(pipeline.name, {})
        secrets = {each: there[each] for each in api.secrets if each in there and there[each].get_secret_value()}
        missing = [_setting(pipeline.name, each) for each in api.secrets if each not in secrets]
        if missing:
            raise UsageError(
                f"{shown} needs {' and '.join(missing)}, and nothing is set there: set it, or write the file "
                "kpi_api_secrets in KPI_SECRETS_DIR."
            )
        return cls(pipeline.name, name, api, url.rstrip("/"), secrets)

    @property
    def secret_settings(self) -> str:
        """The settings of its secrets, for a sentence."""
        return ", ".join(_setting(self.pipeline, each) for each in self.api.secrets) or "it has none"

    @property
    def open_secrets(self) -> dict[str, str]:
        """The secrets as text."""
        return {name: secret.get_secret_value() for name, secret in self.secrets.items()}

    def __str__(self) -> str:
        return f"API {self.name} of {self.pipeline}"


def url_of(pipeline: Pipeline, name: str, settings: Settings) -> str:
    """Return the address of an API, which the environment names or pipeline.yaml; empty if neither does."""
    return settings.api_urls.get(pipeline.name, {}).get(name) or pipeline.config.apis[name].url or ""


def how_to_name_url(pipeline: Pipeline, name: str) -> str:
    """Return what to do about an API without an address, as the end of a sentence."""
    setting = f"KPI_API_URLS__{pipeline.name.upper()}__{name.upper()}"
    return f"set {setting}, or write url under apis.{name} of its pipeline.yaml"


def _setting(pipeline: str, secret: str) -> str:
    return f"KPI_API_SECRETS__{pipeline.upper()}__{secret.upper()}"
