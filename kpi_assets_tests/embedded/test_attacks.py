"""Another user of the machine gets no object of an embedded S3, changes none, and does not fill the disk through it."""

import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from kpi_assets.embedded import weed
from kpi_assets.embedded.accounts import Account, grant_traversal
from kpi_assets.embedded.stack import Stack
from kpi_assets_tests.embedded.attacker import administrator
from kpi_assets_tests.embedded.conftest import states
from kpi_assets_tests.embedded.test_s3 import client, keys, ports_of, sockets
from kpi_assets_tests.machine import eventually

IS_ROOT = os.geteuid() == 0
ACCOUNT = "nobody"
SECRET = "what nobody else may read"


def named_ports(home: Path) -> dict[str, int]:
    return dict(zip(("s3.port", *weed.INNER_PORTS), ports_of(home), strict=True))


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Path]]:
    home = tmp_path_factory.mktemp("attacked") / "home"
    with Stack(home, postgres=False) as stack:
        stack.make_bucket("lake")
        client(stack).put_object(Bucket="lake", Key="secret.txt", Body=SECRET.encode())
        eventually(lambda: len(sockets(ports_of(home))) == 7)
        yield stack, home
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def came_of_it(attacked: tuple[Stack, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The answers to the attacks; root lets another account try, anybody else tries without the keys."""
    _, home = attacked
    folder = tmp_path_factory.mktemp("attacker")
    options = []
    if IS_ROOT:
        options = ["--account", ACCOUNT]
        entry = pwd.getpwnam(ACCOUNT)
        account = Account(ACCOUNT, entry.pw_uid, entry.pw_gid)
        grant_traversal(account, [folder / "x", weed.program(), home])
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    done = subprocess.run(
        [sys.executable, "-m", "kpi_assets_tests.embedded.attacker", weed.program(), folder, home, *options],
        input=json.dumps(named_ports(home)) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_requests_without_keys_are_refused(attacked: tuple[Stack, Path], came_of_it: dict[str, Any]) -> None:
    allowed = {"volume.port": {401}, "filer.port": {401, 404}, "master.port": {401, 404}, "s3.port": {400, 403, 405}}
    for request, answer in came_of_it["requests"].items():
        assert int(answer[:3]) in allowed[request.split()[0]], (request, answer)
        assert SECRET not in answer
        assert "lake" not in answer or request.startswith("s3.port"), (request, answer)  # there it repeats the request
    assert len(came_of_it["requests"]) == 18
    stack, _ = attacked
    assert keys(client(stack)) == ["secret.txt"]
    assert client(stack).get_object(Bucket="lake", Key="secret.txt")["Body"].read() == SECRET.encode()


@pytest.mark.parametrize("way", ["shell", "shell with a pair of its own"])
def test_the_shell_of_an_administrator_gets_nothing(came_of_it: dict[str, Any], way: str) -> None:
    assert SECRET not in came_of_it[way]
    assert "lake" not in came_of_it[way]
    assert "DefaultDataCenter" not in came_of_it[way]


def test_with_the_keys_of_the_home_the_same_shell_gets_everything(attacked: tuple[Stack, Path], tmp_path: Path) -> None:
    """Otherwise the test before would prove nothing."""
    stack, home = attacked
    shutil.copytree(home / "s3-conf", tmp_path / "conf")
    shown = administrator(weed.program(), tmp_path / "conf", named_ports(home), 60)
    assert "lake" in shown
    assert SECRET in shown
    # The last of its commands has removed the bucket.
    stack.make_bucket("lake")
    client(stack).put_object(Bucket="lake", Key="secret.txt", Body=SECRET.encode())


@pytest.mark.skipif(not IS_ROOT, reason="only root can act as another user")
def test_files_and_sockets_are_closed_to_others(came_of_it: dict[str, Any]) -> None:
    assert {*came_of_it["files"].values()} == {"PermissionError"}
    assert {*came_of_it["sockets"].values()} == {"PermissionError"}
    assert len(came_of_it["sockets"]) == 7


@pytest.mark.nightly
@pytest.mark.skipif(not IS_ROOT, reason="only root can act as another user")
def test_a_port_whose_socket_another_user_made_is_not_taken(fresh: Path) -> None:
    """SeaweedFS cannot remove such a socket, and would connect to it."""
    with Stack(fresh, postgres=False):
        first = ports_of(fresh)
    squatted = [
        Path(f"/tmp/seaweedfs-{part}-{port}.sock") for part, port in (("s3", first[0]), ("master-grpc", first[7]))
    ]
    nobody = pwd.getpwnam(ACCOUNT)
    try:
        for path in squatted:
            path.touch()
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        with Stack(fresh, postgres=False):
            assert not {first[0], first[7]} & {*ports_of(fresh)}
        assert [path.exists() for path in squatted] == [True, True], "what is not ours is left alone"
    finally:
        for path in squatted:
            path.unlink(missing_ok=True)


def test_it_listens_on_this_machine_only_and_talks_to_nobody(attacked: tuple[Stack, Path]) -> None:
    _, home = attacked
    process = psutil.Process(states(home)["s3"].pid)
    connections = process.net_connections(kind="inet")
    assert {each.laddr.ip for each in connections} == {"127.0.0.1"}
    assert {each.raddr.ip for each in connections if each.raddr} <= {"127.0.0.1"}
    listening = {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}
    assert listening == {*ports_of(home)}
