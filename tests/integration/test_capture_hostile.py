"""Hostile bodies, JSON and XML, against a real collector: no 5xx, nothing told of its inside, nothing kept in memory, and it works on."""

import json
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx

from services.collector.documents import Limits
from tests.hostile_xml import HOSTILE_XML, mutated_xml
from tests.integration.test_collector import Collector, collector
from tests.unit.collector_builders import document, object_event
from tests.unit.test_capture_fuzz import HOSTILE, LEAKS, MIB, mutated

__all__ = ["collector"]  # the fixture
TYPES = {"json": "application/ld+json", "xml": "application/xml"}
REFUSED = {400, 413}
MUTATED = 300
MOST_GROWTH = 64 * MIB
Body = tuple[str, str, bytes]


class Sender:
    """Sends bodies, and checks each answer."""

    def __init__(self, running: Collector) -> None:
        self._running = running
        self.statuses: Counter[int] = Counter()
        self.captured: set[str] = set()
        self.bytes = 0

    def send(self, bodies: Iterable[Body]) -> None:
        for kind, name, body in bodies:
            answer = self._running.post(body, **{"content-type": TYPES[kind]})
            self._check(name, answer)
            self.bytes += len(body)

    def _check(self, name: str, answer: httpx.Response) -> None:
        self.statuses[answer.status_code] += 1
        assert answer.status_code in {202, *REFUSED}, (name, answer.status_code, answer.text[:300])
        assert not LEAKS.search(answer.content), (name, answer.text[:300])
        if answer.status_code == 202:
            self.captured.add(name)
        else:
            told = answer.json()
            assert answer.headers["content-type"] == "application/problem+json", name
            assert all({"pointer", "detail"} <= fault.keys() for fault in told["errors"]), name
            assert len(answer.content) < 64 * 1024, name


def hostile() -> Iterable[Body]:
    yield from (("json", name, body) for name, body in HOSTILE.items())
    yield from (("xml", name, body) for name, body in HOSTILE_XML.items())


def broken(seed: int) -> Iterable[Body]:
    draw = random.Random(seed)
    whole = document(object_event(), object_event(eventID="urn:e:2", ilmd={"cbvmda:lotNumber": "L1"}))
    for _ in range(MUTATED):
        yield "json", "mutated JSON", mutated(draw, whole)
        yield "xml", "mutated XML", mutated_xml(draw)


def resident(running: Collector) -> int:
    assert running.process is not None
    pages = int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_hostile_bodies_do_a_running_collector_no_harm(
    collector: Collector, tell: Callable[[str], None], tmp_path: Path
) -> None:
    collector.start(GOODSTRACE_COLLECTOR_MAX_BODY_BYTES=str(Limits().body))
    warm = Sender(collector)
    warm.send(hostile())  # what the allocator keeps once for all
    before, begun_s = resident(collector), time.monotonic()
    sender = Sender(collector)
    sender.send(hostile())
    sender.send(broken(31))
    took_s, grown = time.monotonic() - begun_s, resident(collector) - before
    kept = sorted(sender.captured)
    tell(
        f"hostile bodies against a real collector: {sum(sender.statuses.values())} bodies, {sender.bytes / MIB:.0f} MiB, "
        f"statuses {dict(sorted(sender.statuses.items()))}, {took_s:.1f} s; resident {before / MIB:.0f} MiB, {grown / MIB:+.1f} MiB after; "
        f"captured: {', '.join(kept)}"
    )
    assert grown < MOST_GROWTH
    metrics = httpx.get(f"http://127.0.0.1:{collector.metrics_port}/metrics").text
    assert "goodstrace_collector_waiting_bytes 0.0" in metrics
    good = collector.post(document(object_event(eventID="urn:e:after")))
    assert collector.finished(good.headers["location"])["success"]
    log = (tmp_path / "collector.log").read_text()
    assert "Traceback" not in log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert not [line for line in lines if line.get("level") in ("error", "critical")]
