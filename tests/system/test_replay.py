"""Kafka read again: it gives the sealed logs byte for byte, a new store with the same roots, and logs of new rules."""

import base64
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from deploy.stack import Stack
from goodstrace import root
from goodstrace.block import header_hash
from goodstrace.merkle import Frontier
from goodstrace.simulate import Simulation, SimulationOptions
from tests.packs import closed, opened
from tests.system.harness import System, eventually

EVENTS = 400


@pytest.fixture(scope="module")
def system(stack: Stack, systems: Callable[..., System], tmp_path_factory: pytest.TempPathFactory) -> System:
    """A system with sealed goods, duplicates among them, and looks."""
    run_dir = tmp_path_factory.mktemp("replay")
    running = systems(stack, GOODSTRACE_SEAL_BLOCK_ENTRIES="50", GOODSTRACE_RUN_DIR=str(run_dir)).start()
    simulation = Simulation(SimulationOptions(seed=5, events=EVENTS, events_per_document=80))
    documents = [document.to_bytes() for document in simulation.documents()]
    running.capture_sealed([*documents, documents[0]])
    item = simulation.interesting().item
    assert item is not None
    with running.client() as client:
        client.trace(item, complete=False)
    running.wait_looks_sealed(1)
    eventually(lambda: rests(running), what="every log is pinned as it is, the index too")
    return running


def rests(system: System) -> bool:
    """Tell whether the rounds of the logs `root` and `index` have nothing left to do."""
    heads = {head["_id"]: head["size"] for head in system.store["heads"].find()}
    pins = {(pin["log"], pin["size"]) for pin in system.store["pins"].find()}
    others = {log: size for log, size in heads.items() if log != "root"}
    is_pinned = set(others.items()) <= pins and heads.get("root", 0) >= len(pins)
    return is_pinned and _covered(system) == sum(
        size for log, size in heads.items() if log.startswith("goods/")
    )


def _covered(system: System) -> int:
    """Count the entries that the last leaf of the log `index` covers."""
    last = [record for _, record in system.topic_records("logs.index")][-1:]
    return sum(each["size"] for leaf in last for each in json.loads(leaf.part("index").content)["logs"])


def replayed(system: System, *arguments: str, status: int = 0) -> Any:
    done = system.cli("replay", *arguments, "--json")
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("start", ["stored", "recorded", "collected"])
def test_every_topic_gives_the_sealed_logs_byte_for_byte(system: System, start: str) -> None:
    found = replayed(system, "verify", "--from", start)
    assert found["sound"]
    goods = [each for each in found["logs"] if each["log"].startswith("goods/")]
    assert sum(each["entries"] for each in goods) == EVENTS
    assert {each["waiting"] for each in goods} == {0}
    assert {each["log"] for each in found["logs"]} >= {"goods/0", "goods/1", "browse/0"}


@pytest.mark.parametrize(
    ("damage", "field"), [("a byte of an event", "part event"), ("a cut document", "document")]
)
def test_the_first_difference_is_named(system: System, damage: str, field: str) -> None:
    packs = system.store["packs"]
    sound = packs.find_one({"log": "goods/1", "first": {"$gte": 50, "$lt": 400}})
    assert sound is not None
    pack = opened(sound)
    content = pack["records"][0]["parts"][0]["content"]
    pack["records"][0]["parts"][0]["content"] = bytes([content[0] ^ 1]) + content[1:]
    spoiled = closed(pack) if damage == "a byte of an event" else {**sound, "parts": sound["parts"][:-1]}
    try:
        packs.replace_one({"_id": sound["_id"]}, spoiled)
        found = replayed(system, "verify", "--log", "goods/1", status=1)
    finally:
        packs.replace_one({"_id": sound["_id"]}, sound)
    [log] = found["logs"]
    assert not found["sound"]
    assert log["difference"]["log"] == "goods/1"
    assert log["difference"]["block"] == sound["height"]
    assert log["difference"]["field"] == field
    assert (log["difference"]["index"] == sound["first"]) is (field == "part event")
    replayed(system, "verify", "--log", "goods/1")


def test_a_comparison_goes_on_where_it_was(system: System, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    whole = replayed(system, "verify", "--log", "goods/0", "--state", str(state))
    assert not state.exists()
    ended = dict(whole["logs"][0])
    written = state_after_two_blocks(system)
    state.write_text(json.dumps(written))
    resumed = replayed(system, "verify", "--log", "goods/0", "--state", str(state))["logs"][0]
    assert resumed.pop("resumed") == written["logs"]["goods/0"]["size"] > 0
    assert ended.pop("resumed") == 0
    assert resumed == ended


def state_after_two_blocks(system: System) -> dict[str, Any]:
    """Write the state that an interrupted run leaves, from the blocks as they are stored."""
    blocks = list(system.store["blocks"].find({"log": "goods/0", "height": {"$lt": 2}}).sort("height", 1))
    leaves = b"".join(block["leaves"] for block in blocks)
    frontier = Frontier().append([leaves[start : start + 32] for start in range(0, len(leaves), 32)])
    header = json.loads(blocks[-1]["header"])
    instance = system.store["instance"].find_one({"_id": "instance"})
    assert instance is not None
    topic = f"{system.topic_prefix}goods.stored"
    mark = {
        "log": "goods/0",
        "height": 2,
        "size": frontier.size,
        "offset": header["kafka"]["next"],
        "hashes": [base64.b64encode(each).decode() for each in frontier.hashes],
        "header_hash": header_hash(blocks[-1]["header"]),
    }
    return {
        "of": f"{instance['value']} {system.stack.kafka_bootstrap_servers} {topic}",
        "logs": {"goods/0": mark},
    }


def test_a_rebuilt_store_has_the_same_root_at_every_checkpoint(system: System) -> None:
    into = f"{system.database_name}-r"
    found = replayed(system, "rebuild", "--into", into)
    assert found["same_roots"]
    for log in found["logs"]:
        published = list(
            system.store["checkpoints"].find({"log": log["log"], "size": {"$lte": log["entries"]}})
        )
        assert log["checkpoints"] == len(published) > 0
    with MongoClient[dict[str, Any]](system.stack.mongodb_uri) as mongo:
        assert mongo[into]["goods"].count_documents({}) == system.store["goods"].count_documents({}) > 0
    assert_sound_in(system, into)
    again = replayed(system, "rebuild", "--into", into)
    assert [each["entries"] for each in again["logs"]] >= [each["entries"] for each in found["logs"]]


def test_a_rebuild_from_the_first_topic_gives_the_same_roots(system: System) -> None:
    found = replayed(system, "rebuild", "--into", f"{system.database_name}-c", "--from", "collected")
    assert found["same_roots"]


def test_a_rebuild_that_was_killed_goes_on(system: System) -> None:
    into = f"{system.database_name}-k"
    environment = {**system.whole_environment, "GOODSTRACE_SEAL_BLOCK_ENTRIES": "1"}
    command = [str(Path(sys.executable).parent / "goodstrace"), "replay", "rebuild", "--into", into]
    with MongoClient[dict[str, Any]](system.stack.mongodb_uri) as mongo:
        running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            eventually(
                lambda: mongo[into]["blocks"].count_documents({}) >= 20, what="blocks rebuilt", every_s=0.02
            )
        finally:
            running.send_signal(signal.SIGKILL)
            running.communicate()
        half = mongo[into]["blocks"].count_documents({})
    found = replayed(system, "rebuild", "--into", into)
    assert half < EVENTS
    assert found["same_roots"]
    assert sum(each["entries"] for each in found["logs"] if each["log"].startswith("goods/")) == EVENTS


def test_a_database_in_use_is_not_rebuilt_into(system: System) -> None:
    refused = system.cli("replay", "rebuild", "--into", system.database_name)
    assert refused.returncode != 0
    assert "the database in use" in refused.stderr
    with MongoClient[dict[str, Any]](system.stack.mongodb_uri) as mongo:
        mongo[f"{system.database_name}-u"]["instance"].insert_one({"_id": "instance", "value": "00" * 8})
    refused = system.cli("replay", "rebuild", "--into", f"{system.database_name}-u")
    assert refused.returncode != 0
    assert "no rebuild" in refused.stderr


def test_stages_run_again_write_topics_and_logs_of_their_own(system: System) -> None:
    before = {each["_id"]: each for each in system.store["blocks"].find({"log": {"$regex": "^goods/"}})}
    found = replayed(system, "stage", "--from", "recorded", "--version", "v2")
    assert found["topic"].endswith("goods.stored.v2")
    assert sum(found["records"].values()) == EVENTS
    assert {log: size for log, size in found["logs"].items() if size} == {
        f"goods.v2/{partition}": count for partition, count in found["records"].items() if count
    } or sum(found["logs"].values()) == EVENTS
    entries = {(each.log.partition("/")[2], each.index): each.entry for each in system.sealed("goods/")}
    again = {(each.log.partition("/")[2], each.index): each.entry for each in system.sealed("goods.v2/")}
    assert again == entries  # the rules are the same today
    assert before == {
        each["_id"]: each for each in system.store["blocks"].find({"log": {"$regex": "^goods/"}})
    }
    assert sum(replayed(system, "stage", "--from", "recorded", "--version", "v2")["logs"].values()) == EVENTS


def test_stages_run_again_since_a_time_take_only_what_was_written_then(system: System) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + 1))
    found = replayed(system, "stage", "--from", "recorded", "--since", moment, "--version", "v3", "--no-seal")
    assert sum(found["records"].values()) == 0
    assert found["logs"] == {}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("verify", "--log", "goods/9"), "no log goods/9"),
        (("stage", "--from", "recorded", "--since", "yesterday"), "is no date or time"),
        (("stage", "--from", "recorded", "--version", "two"), "such as v2"),
        (("stage", "--from", "stored"), "Invalid value"),
    ],
)
def test_what_cannot_be_done_is_one_clear_message(
    system: System, arguments: tuple[str, ...], says: str
) -> None:
    refused = system.cli("replay", *arguments)
    assert refused.returncode != 0
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.fixture
def unsealed(system: System) -> Iterator[None]:
    """Nothing is sealed meanwhile, and all is after it."""
    system.daemons["ledger"].stop()
    yield
    system.restart("ledger")
    eventually(
        lambda: system.sealed_count() == len(system.topic_records("goods.stored")), what="all is sealed"
    )


@pytest.mark.usefixtures("unsealed")
def test_a_store_that_was_cut_off_has_lost_what_was_compared_and_published(
    system: System, tmp_path: Path
) -> None:
    written = state_after_two_blocks(system)
    state = tmp_path / "state.json"
    state.write_text(json.dumps(written))
    heads, blocks = system.store["heads"], system.store["blocks"]
    head = heads.find_one({"_id": "goods/0"})
    first = system.store["checkpoints"].find_one({"log": "goods/0"}, sort=[("size", 1)])
    assert head is not None
    assert first is not None
    sizes = sorted([head["size"], written["logs"]["goods/0"]["size"]])
    kept, beyond = first["size"], {"log": "goods/0", "height": {"$gt": 0}}
    removed = list(blocks.find(beyond))
    arguments = ("verify", "--log", "goods/0", "--state", str(state))
    try:
        heads.replace_one({"_id": "goods/0"}, {**first, "_id": "goods/0", "height": 0})
        blocks.delete_many(beyond)
        for _ in range(2):  # the state stays
            [log] = replayed(system, *arguments, status=1)["logs"]
            assert (log["difference"], log["entries"]) == (None, kept)
            assert log["waiting"] > 0
            assert {each["field"] for each in log["lost"]} == {"rolled-back"}
            for size, each in zip(sizes, log["lost"], strict=True):
                assert f"was of size {size}, the log has {kept}: rolled back" in each["problem"]
        state.unlink()
        [log] = replayed(system, *arguments, status=1)["logs"]
        assert [each["problem"].partition(":")[0].split()[-1] for each in log["lost"]] == [
            f"{system.topic_prefix}logs.checkpoints"
        ]
    finally:
        blocks.insert_many(removed)
        heads.replace_one({"_id": "goods/0"}, head)
    replayed(system, *arguments)


@pytest.mark.usefixtures("unsealed")
def test_a_store_that_is_behind_its_topics_has_lost_nothing(system: System) -> None:
    before = len(system.topic_records("goods.stored"))
    more = Simulation(SimulationOptions(seed=7, events=20, events_per_document=20))
    system.capture([document.to_bytes() for document in more.documents()])
    eventually(lambda: len(system.topic_records("goods.stored")) == before + 20, what="the events are stored")
    found = replayed(system, "verify")
    assert found["sound"]
    assert sum(each["waiting"] for each in found["logs"] if each["log"].startswith("goods/")) == 20


def test_a_store_rebuilt_after_a_change_of_key_is_signed_by_the_new_key_and_gone_on_with(
    system: System,
) -> None:
    """The last test of this file: the ledger and the query service go over to the rebuilt store."""
    rotated = ("goods/0", "root")
    assert system.cli("keys", "rotate", *rotated).returncode == 0
    more = Simulation(SimulationOptions(seed=6, events=100, events_per_document=50))
    first, *_, last = [document.to_bytes() for document in more.documents()]
    system.capture_sealed([first])
    old = system.store["logs"]
    eventually(
        lambda: all((old.find_one({"_id": log}) or {}).get("changes") for log in rotated), what="keys changed"
    )
    eventually(lambda: own_changes(system) == 1, what="the root log has sealed the change of its own key")
    assert replayed(system, "verify")["sound"]
    into = f"{system.database_name}-n"
    assert replayed(system, "rebuild", "--into", into)["same_roots"]
    logs = {each["_id"]: each for each in system.store.client[into]["logs"].find()}
    for log in rotated:
        assert "changes" not in logs[log]
        assert logs[log]["vkey"] == (system.key_dir / f"{log.replace('/', '-')}.vkey").read_text().strip()
    assert_sound_in(system, into)
    for name in ("ledger", "query"):
        system.daemons[name].stop()
    system.environment["GOODSTRACE_DATABASE"] = into
    for name in ("ledger", "query"):
        system.restart(name)
    system.capture([last])
    eventually(
        lambda: system.sealed_count() == len(system.topic_records("goods.stored")), what="all is sealed"
    )
    with system.client() as client:
        newest = client.checkpoints()
        for log in ("goods/0", "goods/1", "browse/0"):
            assert eventually(lambda log=log: client.root_proof(newest[log]), what=f"{log} is pinned")  # type: ignore[misc]
    assert_sound_in(system, into)


def own_changes(system: System) -> int:
    """Count the entries of the root log that seal changes of its own key."""
    parts = [record.parts for record in system.sealed("root")]
    return sum(
        root.KEY_CHANGES_PART in each and root.decode(each[root.CHECKPOINT_PART]).log == "root"
        for each in parts
    )


def assert_sound_in(system: System, database: str) -> None:
    checked = system.cli_with({"GOODSTRACE_DATABASE": database}, "fsck")
    assert checked.returncode == 0, checked.stdout + checked.stderr
