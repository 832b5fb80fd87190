"""Every service is started again, one after the other, while captures and look-ups go on: none fails, nothing is lost or sealed twice.

As docs/operations.md tells an operator to do it: two processes of what serves clients on the same ports, SIGTERM to one, and to the next only
once the one before is ready again. The ledger seals alone, and what it seals waits meanwhile.
"""

import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import httpx
import pytest

from deploy.processes import Daemon, free_port
from deploy.service_processes import ROOT, not_ready
from deploy.stack import Stack
from goodstrace.capture import Job
from goodstrace.capture_stream import CaptureStream
from goodstrace.facts import identity
from goodstrace.simulate import Simulation, SimulationOptions
from tests.deadlines import DEADLINE_S
from tests.system.harness import Sealed, System, eventually
from tests.system.simulated import seal_simulation

pytestmark = pytest.mark.slow
PAIRED = ("collector", "query", "audit")
SHARED = {f"GOODSTRACE_{name.upper()}_SHARE_PORTS": "true" for name in PAIRED}
SECONDS_TOO = bool(os.environ.get("GOODSTRACE_SOAK_RESTARTS"))
"""Whether the second processes are started again, too, as `make soak` has it; else one of each service."""
EVERY_S = 0.1
ENDS_S = 30.0


@pytest.fixture(scope="module")
def system(stack: Stack, systems: Callable[..., System]) -> System:
    return systems(stack, **SHARED).start()


@pytest.fixture(scope="module")
def seconds(system: System) -> Iterator[dict[str, Daemon]]:
    """A second process of each that serves clients, on the ports of the first; only its metrics have one of their own."""
    made = {name: second(system, name) for name in PAIRED}
    with ExitStack() as ends:
        for daemon in made.values():
            daemon.start()
            ends.callback(daemon.stop)
        for daemon in made.values():
            wait_ready(daemon)
        yield made


def second(system: System, name: str) -> Daemon:
    port, variable = free_port(), f"GOODSTRACE_{name.upper()}"
    return Daemon(
        name=f"{name}-2",
        command=[sys.executable, "-m", f"services.{name}"],
        run_dir=system.run_dir,
        ports=(port,),
        environment={
            **system.environment,
            f"{variable}_METRICS_PORT": str(port),
            **({f"{variable}_INSTANCE": "2"} if name == "collector" else {}),
        },
        cwd=ROOT,
    )


def wait_ready(daemon: Daemon) -> None:
    url = f"http://127.0.0.1:{daemon.ports[0]}/readyz"
    daemon.wait_ready(partial(not_ready, url), DEADLINE_S)


class Load:
    """Captures and look-ups, one after the other in a thread for each kind, by our own clients; what fails is kept."""

    def __init__(self, system: System, item: str) -> None:
        self.system, self.item = system, item
        self.done: dict[str, int] = {}
        self.failed: list[str] = []
        self.jobs: list[Job] = []
        self.longest_s = 0.0
        documents = Simulation(SimulationOptions(seed=31, events=30_000, events_per_document=5)).documents()
        self._documents = (document.to_bytes() for document in documents)
        self._taking = threading.Lock()
        self._stop = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [
            threading.Thread(target=each) for each in (self._capture, self._stream, self._look, self._read)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(60)

    def _document(self) -> bytes:
        with self._taking:
            return next(self._documents)

    def _again(self, kind: str, act: Callable[[], object]) -> None:
        self.done[kind] = 0
        while not self._stop.wait(EVERY_S):
            began = time.monotonic()
            try:
                act()
            except Exception as error:  # noqa: BLE001 - whatever it is, it failed
                self.failed.append(f"{kind}: {type(error).__name__}: {error}")
            else:
                self.done[kind] += 1
            self.longest_s = max(self.longest_s, time.monotonic() - began)

    def _capture(self) -> None:
        with self.system.collector() as collector:

            def capture() -> None:
                taken = collector.send(self._document())
                assert isinstance(taken, Job), taken
                self.jobs.append(taken)

            self._again("captures by HTTP", capture)

    def _stream(self) -> None:
        """Documents in one stream that lasts; it is broken by the restarts, and mends itself."""

        def documents() -> Iterator[bytes]:
            while not self._stop.wait(EVERY_S):
                yield self._document()

        kind = "captures by gRPC"
        self.done[kind] = 0
        try:
            with CaptureStream(f"127.0.0.1:{self.system.capture_port}") as stream:
                for receipt in stream.send(documents()):
                    assert receipt.capture_id, receipt
                    self.done[kind] += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it failed
            self.failed.append(f"{kind}: {type(error).__name__}: {error}")

    def _look(self) -> None:
        with self.system.client() as client:
            calls = itertools.cycle(
                (
                    lambda: client.trace(self.item, max_depth=2, complete=False).events[0],
                    lambda: client.goods(self.item),
                    lambda: client.browses(user="tester", limit=5),
                )
            )
            self._again("look-ups", lambda: next(calls)())  # noqa: PLW0108 - another one each time

    def _read(self) -> None:
        """Read the public logs by plain HTTP, as a caching proxy does: a broken GET is sent once more."""
        transport = httpx.HTTPTransport(retries=3)
        with httpx.Client(base_url=self.system.log_url, transport=transport, timeout=DEADLINE_S) as web:

            def read() -> None:
                try:
                    answer = web.get("/logs")
                except httpx.TransportError:
                    answer = web.get("/logs")
                assert answer.is_success

            self._again("reads of public logs", read)


def restart(daemon: Daemon) -> float:
    """Send SIGTERM, wait until it has ended by itself, and start it again; gives how long it took to end, in seconds."""
    process = daemon.process
    assert process is not None, daemon.tail()
    began = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    eventually(lambda: daemon.process is None, deadline_s=ENDS_S, what=f"{daemon.name} ends", every_s=0.02)
    ended_s = time.monotonic() - began
    assert '"stopped"' in daemon.log.read_text().splitlines()[-1], daemon.tail()
    daemon.start()
    wait_ready(daemon)
    return ended_s


def test_each_process_is_started_again_under_load_and_no_call_fails(
    system: System, seconds: dict[str, Daemon], tell: Callable[[str], None]
) -> None:
    item = seal_simulation(system, seed=5, events=60, events_per_document=20)
    load, ends_s = Load(system, item), dict[str, float]()
    order = [
        *(system.daemons[name] for name in PAIRED),
        system.daemons["ledger"],
        *(seconds.values() if SECONDS_TOO else ()),
    ]
    with load.running():
        for daemon in order:
            ends_s[daemon.name] = restart(daemon)
            seen = dict(load.done)
            eventually(
                lambda seen=seen: all(load.done[kind] > count for kind, count in seen.items()),  # type: ignore[misc]
                what=f"all goes on after {daemon.name}: {load.done}, {load.failed}",
            )
    assert not load.failed, "\n".join(load.failed)
    with system.collector() as collector:
        assert all(collector.wait(job).success for job in load.jobs)
    events = 60 + 5 * (load.done["captures by HTTP"] + load.done["captures by gRPC"])
    eventually(lambda: system.sealed_count() >= events, what=f"{events} events are sealed")
    sealed = system.sealed()
    assert len(sealed) == len(distinct(sealed))
    system.wait_looks_sealed()
    verified = system.cli("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    calls = ", ".join(f"{count} {kind}" for kind, count in load.done.items())
    tell(
        f"rolling restart: {', '.join(f'{name} ended in {took_s:.1f} s' for name, took_s in ends_s.items())}; {calls}, none failed; the longest took "
        f"{load.longest_s:.1f} s; {len(sealed)} events sealed, each once"
    )


def distinct(sealed: Sequence[Sealed]) -> set[bytes]:
    return {identity(1, each.facts) for each in sealed}
