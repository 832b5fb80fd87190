"""What earlier releases stored: today's services read it, verify it and trace it, and today's programs find no fault with it."""

import json
from collections.abc import Callable

import pytest

from deploy.stack import Stack
from goodstrace import entry as entries
from services.runtime import envelope
from tests.recorded_store import USER, Recorded, read
from tests.system.harness import System
from tests.vector_files import VECTORS_DIR

STORES = sorted((VECTORS_DIR / "stores").glob("*.bson.gz"))
IN_CLEAR = [path for path in STORES if path.name == "before-vault.bson.gz"]
"""Of later ones the keys that looks are encrypted under are not recorded."""


@pytest.fixture(scope="module", params=STORES, ids=lambda path: path.name.partition(".")[0])
def recorded(request: pytest.FixtureRequest) -> Recorded:
    return read(request.param)


@pytest.fixture(scope="module")
def system(recorded: Recorded, stack: Stack, systems: Callable[..., System]) -> System:
    """A system on the recorded store, of which only what shows it is started: its Kafka is another one, so that nothing may be sealed."""
    system = systems(stack)
    system.key_dir.mkdir(parents=True)
    for name, content in recorded.files.items():
        (system.key_dir / name).write_bytes(content)
    for name, documents in recorded.collections.items():
        if documents:
            system.store[name].insert_many(documents)
    made = system.run_module("services.runtime.provision")
    assert made.returncode == 0, made.stdout + made.stderr
    system.daemons["query"].start()
    system.wait_ready("query")
    return system


def test_it_is_traced_and_proved_as_it_was(
    system: System, recorded: Recorded, tell: Callable[[str], None]
) -> None:
    with system.client() as client:
        trace = client.trace(recorded.item)
        goods = client.goods(recorded.item)
        assert client.event(trace.events[0].event.facts.event_id)
    assert [each.event.identity for each in trace.events] == recorded.identities
    assert trace.tree_verified
    assert goods.key == trace.key
    tell(
        f"compatibility: {len(STORES)} recorded stores, in this one {len(trace.events)} events traced and proved as they were"
    )


def test_our_own_programs_find_no_fault_with_it(system: System) -> None:
    for command in (("verify",), ("fsck",)):
        done = system.cli(*command)
        assert done.returncode == 0, done.stdout + done.stderr


def test_its_records_are_read_and_are_what_was_sealed(system: System, recorded: Recorded) -> None:
    for records in recorded.topics.values():
        for each in records:
            assert envelope.decode(each["value"])
    for topic, prefix in (("goods.stored", "goods/"), ("goods.browsed", "browse/")):
        sent = [envelope.decode(each["value"]) for each in recorded.topics[topic]]
        sealed = {each.id: each for each in system.sealed(prefix)}
        assert {each.id.hex() for each in sent} == set(sealed)
    for each in system.sealed(""):
        assert entries.decode(each.entry)


@pytest.mark.parametrize("recorded", IN_CLEAR, ids=["before-vault"], indirect=True)
def test_looks_that_were_recorded_in_clear_are_told_to_who_they_are_of(system: System) -> None:
    done = system.cli("audit", "export", "user", USER)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    looks = [each["value"] for each in lines if each["kind"] == "look"]
    assert len(looks) == len(system.sealed("browse/")), lines
