"""The session with the engine: what it sets, what it gives back, and what it says when something is wrong."""

import threading
import time
from datetime import date, datetime
from decimal import Decimal

import pytest
from pydantic import SecretStr

from kpi_assets.embedded.stack import Stack
from kpi_assets.lake.session import SETTINGS, Engine, EngineError, place_of
from kpi_assets.lake.sql_text import constant
from kpi_assets.materialize.engine_session import connect
from kpi_assets.settings import settings
from kpi_assets_tests.lake.server import LakeServer, lake_server, needed

pytestmark = pytest.mark.nightly


def test_rows_are_values_of_python(engine: Engine) -> None:
    found = engine.rows(
        "select cast(1 as smallint), 9223372036854775807, cast('1.50' as decimal(10,2)), date '2025-01-31', "
        "timestamp_ntz '2025-01-31 12:30:00.000001', 'é\\'', true, cast(null as int) union all "
        "select 2, 3, 4, date '0001-01-01', timestamp_ntz '2025-01-01 00:00:00', '', false, 5 order by 1"
    )
    assert found == [
        (
            *(
                1,
                9223372036854775807,
                Decimal("1.50"),
                date(2025, 1, 31),
                datetime.fromisoformat("2025-01-31 12:30:00.000001"),
            ),
            *("é'", True, None),
        ),
        (2, 3, Decimal("4.00"), date(1, 1, 1), datetime.fromisoformat("2025-01-01"), "", False, 5),
    ]
    assert engine.rows("select 1 where false") == []
    assert engine.value("select 1 where false") is None
    assert engine.records("select 1 as a, 'x' as b") == [{"a": 1, "b": "x"}]


@pytest.mark.parametrize(
    "text", ["${spark.app.name}", "${env:HOME}", "it's \\ a\nb", "\\'", "--", "%s :name ?", "\0\t"]
)
def test_a_text_is_what_stands_there(engine: Engine, text: str) -> None:
    assert engine.value(f"select {constant(text)}") == text


def test_a_session_has_the_values_of_postgres(engine: Engine) -> None:
    assert engine.settings() == SETTINGS
    for statement, condition in (
        ("select 1 / 0", "DIVIDE_BY_ZERO"),
        ("select cast('x' as int)", "CAST_INVALID_INPUT"),
        ("select sum(x) from values (9223372036854775807), (1) as t(x)", "ARITHMETIC_OVERFLOW"),
    ):
        with pytest.raises(EngineError) as raised:
            engine.rows(statement)
        assert raised.value.condition == condition
        assert not raised.value.transient
        assert "\n" not in str(raised.value)
        assert len(str(raised.value)) < 600
    assert engine.value("select 1") == 1, "an error does not end the session"


def test_a_setting_of_the_server_that_gives_other_values_is_changed_for_the_session(server: LakeServer) -> None:
    with server.connect() as engine:
        engine.execute("set spark.sql.ansi.enabled = false")
        assert engine.settings()["spark.sql.ansi.enabled"] == "false"
        engine._configure("again")
        assert engine.settings() == SETTINGS


def test_rows_come_in_batches(engine: Engine) -> None:
    sizes = [each.num_rows for each in engine.batches("select id, repeat('x', 100) as x from range(200000)")]
    assert sum(sizes) == 200_000
    assert len(sizes) > 3


def test_a_statement_ends_after_its_time(engine: Engine) -> None:
    began = time.monotonic()
    with pytest.raises(EngineError, match="was interrupted during a statement"):
        engine.rows(
            "select count(*) from range(100000000) a cross join range(100000) b where a.id % 7 = b.id % 5", timeout=3
        )
    assert time.monotonic() - began < 60
    assert engine.value("select 2") == 2


def test_a_wrong_token_is_refused_and_not_quoted(server: LakeServer) -> None:
    with pytest.raises(EngineError) as raised:
        Engine.connect(server.url, SecretStr("another-token-of-tests"), timeout=60)
    assert "refused the login" in str(raised.value)
    assert "another-token" not in str(raised.value)
    assert not raised.value.transient


def test_no_server_is_a_transient_error_within_the_time() -> None:
    began = time.monotonic()
    with pytest.raises(EngineError, match=r"localhost:1 did not answer within 2 seconds") as raised:
        Engine.connect(SecretStr("sc://localhost:1"), timeout=2)
    assert raised.value.transient
    assert time.monotonic() - began < 20


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(EngineError, match="is no address of Spark Connect"):
        Engine.connect(SecretStr("https://example.org/;token=secret"), timeout=2)
    assert place_of(SecretStr("sc://engine.example:443/;token=secret")) == "engine.example:443"


def test_a_closed_session_says_so(server: LakeServer) -> None:
    engine = server.connect()
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="is closed"):
        engine.rows("select 1")
    with server.connect() as other:
        assert other.value("select 3") == 3


def test_a_session_that_ends_leaves_the_others_of_the_process_alone(server: LakeServer) -> None:
    """The client has threads that all sessions share, and one of them is busy with what it tells a server."""
    from pyspark.sql.connect.client.reattach import (  # noqa: PLC0415  needs the packages of the server
        ExecutePlanResponseReattachableIterator,
    )

    is_told = threading.Event()
    with server.connect() as staying:
        ending = server.connect()
        assert ending.value("select 1") == 1
        ExecutePlanResponseReattachableIterator._get_or_create_release_thread_pool().submit(is_told.wait, 60)
        closing = threading.Thread(target=ending.close)
        closing.start()
        closing.join(5)
        try:
            assert not closing.is_alive()
            assert staying.value("select 2") == 2
        finally:
            is_told.set()


def test_a_session_that_the_server_forgot_is_a_lost_connection(server: LakeServer) -> None:
    engine = server.connect()
    try:
        engine._session.client.release_session()
        with pytest.raises(EngineError) as raised:
            engine.rows("select 1")
        assert raised.value.transient
    finally:
        engine.close()


def test_a_server_that_dies_is_a_lost_connection(stack: Stack) -> None:
    needed()
    with lake_server() as server:
        engine = server.connect()
        try:
            found = []
            many = "select count(*) from range(1000000000) a cross join range(100000) b where a.id % 7 = b.id % 5"

            def ask() -> None:
                with pytest.raises(EngineError) as raised:
                    engine.rows(many)
                found.append(raised.value)

            asking = threading.Thread(target=ask)
            asking.start()
            time.sleep(3)
            server.kill()
            asking.join(120)
            [error] = found
            assert error.transient
            assert "was lost during a statement" in str(error)
        finally:
            engine.close()


def test_the_settings_name_the_engine(server: LakeServer) -> None:
    named = settings().model_copy(update={"spark_url": server.url, "spark_token": server.token})
    with connect(named, "a build of tests") as engine:
        assert engine.value("select 4") == 4
    with pytest.raises(EngineError, match="set KPI_SPARK_URL to that of Spark Connect"):
        connect(settings().model_copy(update={"spark_url": None}), "a build of tests")
