"""A partition more is a log more: it is sealed and served beside the others, by services that are not told of it."""

from collections.abc import Callable

import httpx
import pytest

from deploy.stack import Stack
from goodstrace.simulate import Simulation, SimulationOptions
from tests.system.harness import System, eventually


@pytest.fixture(scope="module")
def grown(stack: Stack, systems: Callable[..., System]) -> System:
    return systems(stack).start()


def listed(system: System) -> dict[str, str]:
    """The names of the goods logs that can be read, with their urls."""
    logs = httpx.get(f"{system.log_url}/logs").json()
    return {each["name"]: each["url"] for each in logs if each["name"].startswith("goods/")}


def sizes(system: System) -> dict[str, int]:
    return {
        name: int(httpx.get(f"{url}/checkpoint").text.splitlines()[1]) for name, url in listed(system).items()
    }


def documents(seed: int) -> list[bytes]:
    options = SimulationOptions(seed=seed, events=60, events_per_document=20)
    return [document.to_bytes() for document in Simulation(options).documents()]


def test_a_partition_more_is_a_log_more_and_what_came_before_is_remembered(grown: System) -> None:
    system = grown
    system.capture_sealed(documents(1))
    before = sizes(system)
    assert set(before) == {"goods/0", "goods/1"}
    kept = {name: pid for name, pid in system.pids().items() if name != "collector"}
    system.environment["GOODSTRACE_PARTITIONS"] = "3"
    refused = system.cli("grow")
    assert refused.returncode == 1
    assert "collectors run still" in refused.stderr

    # Capture pauses, since it spreads events over as many partitions as it was told; all it took is sealed by now.
    system.daemons["collector"].stop()
    for _ in range(2):  # it may be repeated
        done = system.cli("grow")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "60 events are remembered" in done.stdout
        assert "every topic of goods has 3 partitions" in done.stdout
    system.daemons["collector"] = system._daemon("collector")
    system.restart("collector")
    again = system.capture(documents(1))
    assert sum(job.counts["duplicate"] for job in again) == 60
    system.capture_sealed(documents(2))

    eventually(lambda: len(listed(system)) == 3, what="goods/2 is listed")
    after = sizes(system)
    assert set(after) == {"goods/0", "goods/1", "goods/2"}
    assert all(after[name] > size for name, size in before.items()), "the old logs go on"
    assert {name: pid for name, pid in system.pids().items() if name != "collector"} == kept

    # Windows filled again from the stage's own topic know it too, and a replay from the first topic finds the same.
    system.kill9("collector")
    system.restart("collector")
    assert sum(job.counts["duplicate"] for job in system.capture(documents(1))) == 60
    verdict = system.cli("fsck", "--vkeys", str(system.key_dir))
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
    for start in ("collected", "summarised"):
        replayed = system.cli("replay", "verify", "--from", start)
        assert replayed.returncode == 0, replayed.stdout + replayed.stderr
