"""A partition more is a log more: it is sealed and served beside the others, by services that are not told of it."""

from collections.abc import Callable

import httpx
import pytest
from confluent_kafka.cimpl import NewPartitions

from deploy.stack import Stack
from goodstrace.simulate import Simulation, SimulationOptions
from services.runtime import kafka, topics
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


def captured(system: System, seed: int) -> None:
    simulation = Simulation(SimulationOptions(seed=seed, events=60, events_per_document=20))
    system.capture_sealed([document.to_bytes() for document in simulation.documents()])


def grow_topics(system: System, partitions: int) -> None:
    admin = kafka.admin_client(system.stack.kafka_bootstrap_servers)
    wanted = [NewPartitions(f"{system.topic_prefix}{name}", partitions) for name in topics.GOODS_TOPICS]
    for future in admin.create_partitions(wanted).values():
        future.result(30)


def test_a_partition_more_is_a_log_more(grown: System) -> None:
    system = grown
    captured(system, 1)
    before = sizes(system)
    assert set(before) == {"goods/0", "goods/1"}
    kept = {name: pid for name, pid in system.pids().items() if name != "collector"}

    # Capture pauses, since it spreads events over as many partitions as it was told; all it took is sealed by now.
    system.daemons["collector"].stop()
    grow_topics(system, 3)
    system.environment["GOODSTRACE_PARTITIONS"] = "3"
    system.daemons["collector"] = system._daemon("collector")
    system.restart("collector")
    captured(system, 2)

    eventually(lambda: len(listed(system)) == 3, what="goods/2 is listed")
    after = sizes(system)
    assert set(after) == {"goods/0", "goods/1", "goods/2"}
    assert all(after[name] > size for name, size in before.items()), "the old logs go on"
    assert {name: pid for name, pid in system.pids().items() if name != "collector"} == kept
    verdict = system.cli("fsck", "--vkeys", str(system.key_dir))
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
