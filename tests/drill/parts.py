"""The system of the drill, and its parts: how each is killed, how it comes back, and which alerts must tell."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from deploy.broker import Broker
from deploy.document_store import DocumentStore
from deploy.processes import HOST, Daemon
from deploy.stack import Stack
from tests.drill.scaling import faster
from tests.own_witness import Witness
from tests.prometheus import Prometheus
from tests.system.harness import SERVICES, System, eventually
from tests.watch_worker import WATCH, start, watch_of

SETTINGS = {
    "GOODSTRACE_WITNESS_INTERVAL_MS": "100",
    # Neighbours that are away are given up after seconds: the drill's clock runs faster than that of a real alert.
    "GOODSTRACE_MONGO_TIMEOUT_MS": "2000",
    "GOODSTRACE_QUERY_BROWSE_TIMEOUT_S": "2",
    "GOODSTRACE_AUDIT_BROWSE_TIMEOUT_S": "2",
}


@dataclass(frozen=True)
class Expected:
    """An alert that must come, by its name and some of its labels."""

    alert: str
    labels: dict[str, str] = field(default_factory=dict)

    def is_it(self, labels: dict[str, str]) -> bool:
        """Say whether an alert of Prometheus is this one."""
        return labels["alertname"] == self.alert and self.labels.items() <= labels.items()

    def __str__(self) -> str:
        told = ", ".join(value for name, value in self.labels.items() if name == "job")
        return f"{self.alert} ({told})" if told else self.alert


@dataclass(frozen=True)
class Part:
    """A part that is killed (SIGKILL) and started again; `start` returns once it is ready."""

    name: str
    kill: Callable[[], None]
    start: Callable[[], None]
    expected: tuple[Expected, ...]


@dataclass
class World:
    """What the drill runs on."""

    stack: Stack
    system: System
    prometheus: Prometheus
    parts: tuple[Part, ...]


@contextmanager
def world(folder: Path, report: Callable[[str], None]) -> Iterator[World]:
    """Start everything on free ports, and end it."""
    with ExitStack() as ends:
        report("Kafka and store")
        stack = Stack.on_free_ports(folder / "run")
        ends.callback(stack.kill)
        stack.start()
        (folder / "witness").mkdir(mode=0o700)
        witness = Witness(folder / "witness")
        settings = {**SETTINGS, "GOODSTRACE_WITNESS_POLICY": str(witness.policy(folder / "policy"))}
        system = System(stack, folder / "system", settings)
        report("collector, ledger, query, audit")
        ends.callback(system.stop)
        system.start(sealing=False)
        report("witness, watch, Prometheus")
        cosigning = witness.follow(f"{system.log_url}/logs")
        ends.callback(cosigning.kill)
        watch = watch_of(system, folder / "watch")
        ends.callback(watch.kill)
        start(watch)
        ports = {**system.metrics_ports, WATCH: watch.ports[0], "witness": witness.metrics_port}
        targets = {name: f"{HOST}:{port}" for name, port in ports.items()}
        prometheus = ends.enter_context(Prometheus(folder / "prometheus", targets, faster, every="1s"))
        eventually(
            lambda: len(prometheus.query("up == 1")) > len(targets),
            what="Prometheus sees all that it scrapes",
        )
        services = tuple(_service(system, name) for name in SERVICES)
        others = (
            Part(WATCH, watch.kill, partial(start, watch), (Expected("ServiceDown", {"job": WATCH}),)),
            Part(
                "witness",
                cosigning.kill,
                partial(_again, cosigning, witness),
                (Expected("WitnessQuorumLost", {"severity": "page"}), Expected("WitnessDown")),
            ),
            Part(
                "Kafka",
                lambda: _server(stack.kafka).kill(),
                lambda: _back(stack.kafka),
                (
                    Expected("KafkaFailing", {"job": "collector"}),
                    Expected("LookupSuccessBurn", {"severity": "page"}),
                    Expected("CaptureAvailabilityBurn", {"severity": "page"}),
                ),
            ),
            Part(
                "store",
                lambda: _server(stack.store).kill(),
                lambda: _back(stack.store),
                (
                    Expected("StoreFailing", {"job": "query"}),
                    Expected("LookupSuccessBurn", {"severity": "page"}),
                ),
            ),
        )
        yield World(stack, system, prometheus, (*services, *others))


def _service(system: System, name: str) -> Part:
    return Part(
        name,
        partial(system.kill9, name),
        partial(system.restart, name),
        (Expected("ServiceDown", {"job": name}),),
    )


def _again(daemon: Daemon, witness: Witness) -> None:
    daemon.start()
    witness.wait_ready(daemon)


def _server(server: Broker | DocumentStore | None) -> Broker | DocumentStore:
    assert server is not None
    return server


def _back(server: Broker | DocumentStore | None) -> None:
    _server(server).start()
    _server(server).wait_ready()
