"""The embedded broker: when it runs, what survives it, and what commands find in their environment."""

import os
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer

from kpi_assets.embedded.broker import program
from kpi_assets.embedded.stack import Stack, stop
from kpi_assets.errors import UserError
from kpi_assets.settings import Settings
from kpi_assets.stream.reader import open_reader
from kpi_assets_tests.embedded.conftest import are_running, states
from kpi_assets_tests.machine import PATIENCE
from kpi_assets_tests.stream.brokers import read_all


def settings_of(stack: Stack, home: Path) -> Settings:
    return Settings(home=home, stream_url=stack.environment()["KPI_STREAM_URL"])


def send(stack: Stack, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": stack.environment()["KPI_STREAM_URL"].removeprefix("kafka://")})
    producer.produce("clicks", value, partition=0)
    assert producer.flush(30) == 0


def values(stack: Stack, home: Path, count: int) -> list[bytes | None]:
    with open_reader(settings_of(stack, home), "clicks") as reader:
        assert reader.partitions() == [0, 1, 2]
        reader.seek(0, None)
        return [event.value for event in read_all(reader, count, PATIENCE)]


@pytest.mark.nightly
def test_it_runs_where_there_are_streams_and_keeps_its_events_on_the_s3(fresh: Path) -> None:
    with Stack(fresh, postgres=False) as stack:
        assert "KPI_STREAM_URL" not in stack.environment()
        assert "broker" not in are_running(fresh)
    with Stack(fresh, postgres=False, streams=["clicks", "orders"]) as stack:
        assert are_running(fresh) == {"postgres": False, "broker": True, "s3": True}
        address = stack.environment()["KPI_STREAM_URL"]
        assert address == f"kafka://127.0.0.1:{states(fresh)['broker'].port}"
        send(stack, b"first")
        stack.check_alive()
        main = psutil.Process(states(fresh)["broker"].pid)
        secret = stack.credentials.s3_secret_access_key.get_secret_value()
        assert secret not in " ".join(main.cmdline())
        main.kill()
        psutil.wait_procs([main], timeout=10)
        with pytest.raises(UserError, match=r"The embedded broker exited unexpectedly: run `kpi up` again; its log "):
            stack.check_alive()
        with Stack(fresh, postgres=False, streams=["clicks"]) as again:
            assert again.environment()["KPI_STREAM_URL"] == address
            send(again, b"second")
            assert values(again, fresh, 2) == [b"first", b"second"]
        assert secret not in (fresh / "logs" / "broker.log").read_text()
        assert stop(fresh) == ["broker", "s3"]
    assert are_running(fresh) == {"postgres": False, "broker": False, "s3": False}
    with Stack(fresh, postgres=False, streams=["clicks"]) as stack:
        assert values(stack, fresh, 2) == [b"first", b"second"]


def test_a_program_of_ones_own_is_run(tmp_path: Path) -> None:
    own = tmp_path / "tansu"
    with pytest.raises(UserError) as error:
        program(own)
    assert str(error.value) == (
        f"KPI_BROKER_PROGRAM={own} is no program that you may run: name the file `tansu` of Tansu, or leave the "
        "setting out."
    )
    own.symlink_to(program())
    assert program(own) == own
    assert os.access(program(), os.X_OK)
