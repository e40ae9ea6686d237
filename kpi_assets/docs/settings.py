"""The page of the settings: every environment variable that kpi_assets reads."""

from collections.abc import Iterator

from kpi_assets.docs.markdown import page_of, table, word
from kpi_assets.settings import Settings

_INTRO = """
A setting is a variable of the environment. It may be a file in the folder `KPI_SECRETS_DIR` instead, whose name is the
name of the variable in lower case, such as `kpi_postgres_url`. If both exist, the variable counts. A setting that
cannot be read ends every command with a sentence that names it and quotes nothing of its value.

If no server is named, the [embedded servers](../guides/deployment.md#embedded-servers) are used.
"""
_OTHERS = """
## Other variables

`RUN_DATE` is the default of `--load-date`. The credentials and the region of the bucket come from the variables of AWS,
such as `AWS_ACCESS_KEY_ID`, or from its files, which the library of AWS reads by itself. Those of a container on Azure
come from `AZURE_STORAGE_ACCOUNT_KEY` or `AZURE_STORAGE_SAS_TOKEN`, from `AZURE_CLIENT_ID`, `AZURE_TENANT_ID` and
`AZURE_CLIENT_SECRET` or `AZURE_FEDERATED_TOKEN_FILE`, or else from the identity of the machine.
"""


def page() -> str:
    """Return the page as Markdown."""
    return page_of("Settings", _INTRO, table(("variable", "default", "meaning"), _rows()), _OTHERS)


def _rows() -> Iterator[tuple[str, str, str]]:
    for name, field in Settings.model_fields.items():
        variable = f"KPI_{name.upper()}"
        if name in {"s3_buckets", "lake_urls"}:
            variable += "__PIPELINE"
        # A default that is computed depends on the machine. The description names it.
        default = None if field.default_factory else field.default
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        yield word(variable), word(shown) if default not in (None, "") else "", field.description or ""
