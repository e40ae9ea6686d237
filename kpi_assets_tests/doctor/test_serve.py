"""What the doctor says of `kpi serve`: who may read through it, and as whom it reads."""

from typing import Any

import pytest
from pydantic import SecretStr

from kpi_assets.doctor.serve import serve
from kpi_assets.settings import settings
from kpi_assets.surface.security import hash_of
from kpi_assets_tests.pipeline_harness import PipelineHarness

KEYS = SecretStr(f"ann:{hash_of('a')},bob:{hash_of('b')}")


@pytest.mark.usefixtures("stack")
def test_who_may_read_is_said() -> None:
    def said(**changes: Any) -> list[tuple[str, str]]:
        return [(each.state, each.text) for each in serve(settings().model_copy(update=changes))]

    assert said() == [("ok", "it listens on 127.0.0.1, port 8000, and answers to everybody on this machine")]
    assert said(serve_host="0.0.0.0", serve_keys=KEYS, serve_port=80) == [
        ("ok", "it listens on 0.0.0.0, port 80, and answers to 2 keys"),
        ("advice", "links in alerts lead to this machine only: set KPI_SERVE_URL to the address that people use"),
    ]
    assert said(
        serve_host="10.0.0.4",
        serve_proxy_header="X-User",
        serve_proxy_addresses="10.0.0.5/32",
        serve_url="https://kpis.example.com",
    ) == [("ok", "it listens on 10.0.0.4, port 8000, and answers to those whom 10.0.0.5/32 lets in")]
    [(state, text)] = said(serve_host="10.0.0.4")
    assert (state, text[:60]) == ("broken", "On 10.0.0.4 anybody who reaches this machine could read the ")


def test_a_login_that_may_not_act_as_kpi_reader_is_found(lab: PipelineHarness) -> None:
    lab.prepared()  # makes the roles
    login = f"{lab.name}_nobody"
    lab.in_postgres(f"create role {login} login password 'nothing-secret'")
    try:
        place = lab.server.get_secret_value().rpartition("@")[2]
        url = SecretStr(f"postgresql://{login}:nothing-secret@{place}")
        config = settings().model_copy(update={"serve_postgres_url": url})
        [_, found] = serve(config)
        assert (found.state, found.text) == (
            "broken",
            f'the login {login} of KPI_SERVE_POSTGRES_URL may not act as kpi_reader: `grant kpi_reader to "{login}"`',
        )
        lab.in_postgres(f"grant kpi_reader to {login}")
        assert len(list(serve(config))) == 1
    finally:
        lab.in_postgres(f"drop role {login}")
