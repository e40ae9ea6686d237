"""Apache Kafka itself: its jars, fetched once by Maven's own client, and a cluster of them for tests.

It is the peer that the reader of Kafka's protocol is proven against. It needs Java 17 and Maven, which not every
machine has, and so it is of the nightly tests.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from kpi_assets.settings import Settings
from kpi_assets_tests.stream.brokers import Broker

VERSION = "3.9.1"
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>kpi_assets</groupId><artifactId>peer</artifactId><version>1</version><dependencies><dependency>
<groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{version}</version></dependency><dependency>
<groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency></dependencies></project>
"""
CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"  # a UUID as Kafka writes them
# As Azure Event Hubs asks for it.
EVENT_HUBS_USER = "$ConnectionString"
EVENT_HUBS_PASSWORD = (
    "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=reader;SharedAccessKey=c2VjcmV0c2VjcmV0="
)
SCRAM_USER, SCRAM_PASSWORD = "landing", "a password of landing"


def jars(folder: Path) -> Path:
    """Return a folder with the jars of Apache Kafka. Skips the test where Java or Maven is missing."""
    if not (shutil.which("java") and shutil.which("mvn")):
        pytest.skip("Apache Kafka needs java and mvn, which are not on this machine")
    found = folder / "jars"
    if not found.exists():
        (folder / "pom.xml").write_text(POM.format(version=VERSION))
        command = ["mvn", "-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime"]
        subprocess.run([*command, f"-DoutputDirectory={found}"], cwd=folder, check=True, timeout=900)
    return found


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Node:
    """One server of a cluster."""

    def __init__(self, number: int, folder: Path, libraries: Path, ports: list[int], controller: int):
        self.number, self.folder, self.libraries, self.controller = number, folder, libraries, controller
        self.plain, self.secured = ports
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        store = [
            "-alias",
            "broker",
            "-keystore",
            str(folder / "keys.p12"),
            "-storetype",
            "PKCS12",
            "-storepass",
            "tests!",
        ]
        named = ["-dname", f"CN=node {number}", "-ext", "san=ip:127.0.0.1", "-validity", "3650"]
        self._run("keytool", "-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", *named, *store)
        self._run("keytool", "-exportcert", "-rfc", "-file", str(folder / "certificate.pem"), *store)
        (folder / "server.properties").write_text(self._properties())
        scram = f"SCRAM-SHA-512=[name={SCRAM_USER},password={SCRAM_PASSWORD}]"
        options = ["-t", CLUSTER, "-c", str(folder / "server.properties"), "--add-scram", scram]
        self._run(*self._java("128m"), "kafka.tools.StorageTool", "format", *options)

    def _properties(self) -> str:
        leads = self.number == 1
        listeners = [f"PLAINTEXT://127.0.0.1:{self.plain}", f"SASL_SSL://127.0.0.1:{self.secured}"]
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        lines = {
            "process.roles": "broker,controller" if leads else "broker",
            "node.id": self.number,
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listeners": ",".join([*listeners, *([f"CONTROLLER://127.0.0.1:{self.controller}"] if leads else [])]),
            "advertised.listeners": ",".join(listeners),
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
            "listener.name.sasl_ssl.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": (
                f'{plain} user_{EVENT_HUBS_USER}="{EVENT_HUBS_PASSWORD}";'
            ),
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "ssl.keystore.type": "PKCS12",
            "ssl.keystore.location": self.folder / "keys.p12",
            "ssl.keystore.password": "tests!",
            "log.dirs": self.folder / "data",
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "min.insync.replicas": 1,
            "message.max.bytes": 20 << 20,
            "replica.lag.time.max.ms": 5000,
            "broker.session.timeout.ms": 6000,
            "group.initial.rebalance.delay.ms": 0,
        }
        return "".join(f"{name}={value}\n" for name, value in lines.items())

    def _java(self, memory: str) -> list[str]:
        quiet = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-XX:TieredStopAtLevel=1"]
        return ["java", f"-Xmx{memory}", *quiet, "-cp", f"{self.libraries}/*"]

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, cwd=self.folder, capture_output=True, timeout=120)

    def start(self) -> None:
        command = [*self._java("384m"), "kafka.Kafka", str(self.folder / "server.properties")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


class ApacheKafka(Broker):
    """A cluster of Apache Kafka."""

    drops = grows = True

    def __init__(self, folder: Path, count: int):
        libraries = jars(folder)
        ports = free_ports(2 * count + 1)
        self.nodes = [
            Node(number + 1, folder / f"node-{number + 1}", libraries, ports[2 * number : 2 * number + 2], ports[-1])
            for number in range(count)
        ]
        servers = ",".join(f"127.0.0.1:{node.plain}" for node in self.nodes)
        super().__init__(Settings(home=folder / "home", stream_url=f"kafka://{servers}"))

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        self.wait()

    def secured(self, **login: Any) -> Settings:
        """Return settings that lead to the listener with TLS and a login."""
        servers = ",".join(f"127.0.0.1:{node.secured}" for node in self.nodes)
        ca = self.nodes[0].folder.parent / "certificates.pem"
        ca.write_text("".join((node.folder / "certificate.pem").read_text() for node in self.nodes))
        return Settings(
            **{"home": self.settings.home, "stream_url": f"kafka+ssl://{servers}", "stream_ca": ca, **login}
        )

    def wait(self) -> None:
        """Wait until every node is in the cluster."""
        admin, deadline = AdminClient({"bootstrap.servers": self.options["bootstrap.servers"]}), time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(KafkaException):
                if len(admin.list_topics(timeout=5).brokers) == len(self.nodes):
                    return
            time.sleep(0.2)
        logs = [(node.folder / "log").read_text()[-2000:] for node in self.nodes]
        pytest.fail(f"Apache Kafka did not start: {logs}")

    def make(self, partitions: int = 2, **config: str) -> str:
        name = f"clicks-{os.getpid()}-{time.monotonic_ns()}"
        admin = AdminClient(self.options)
        for made in admin.create_topics([NewTopic(name, partitions, len(self.nodes), config=config)]).values():
            made.result(30)
        return name

    def drop(self, stream: str, partition: int, before: int) -> None:
        admin = AdminClient(self.options)
        for done in admin.delete_records([TopicPartition(stream, partition, before)]).values():
            done.result(30)


@contextmanager
def apache_kafka(folder: Path, count: int = 1) -> Iterator[ApacheKafka]:
    """Run a cluster."""
    cluster = ApacheKafka(folder, count)
    try:
        cluster.start()
        yield cluster
    finally:
        for node in cluster.nodes:
            node.kill()
