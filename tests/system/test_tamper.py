"""One byte of what a running system has stored is flipped in MongoDB: `goodstrace verify` names log and place, `trace()` refuses.

Every byte of every document is flipped in tests/unit/test_fsck_bytes.py; here records, blocks, root log and index of a real system.

Refuses wherever an answer is made of it; where it is not (a block's header), the answer is the same as before, byte by byte.
"""

import copy
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from deploy.stack import Stack
from goodstrace.cli import main
from goodstrace.client import Trace
from goodstrace.errors import CallError, GoodstraceError, VerificationError
from goodstrace.multiproof import multiproof_path
from tests.packs import closed, opened
from tests.system.harness import System
from tests.system.simulated import seal_simulation

EVENTS = 300
Document = dict[str, Any]
Place = tuple[str | int, ...]


@pytest.fixture(scope="module")
def system(stack: Stack, systems: Callable[..., System]) -> System:
    """A system that seals small blocks, so that a log has several, and shows what is stored now, not what it read before."""
    return systems(
        stack,
        GOODSTRACE_SEAL_BLOCK_ENTRIES="40",
        GOODSTRACE_QUERY_REMEMBER_MIB="0",
        GOODSTRACE_QUERY_REMEMBER_PACKS_MIB="0",
    ).start()


@dataclass(frozen=True)
class Honest:
    """The answer before anything was flipped, and the first of its events' place."""

    key: str
    trace: Trace
    log: str
    index: int


@pytest.fixture(scope="module")
def honest(system: System) -> Honest:
    key = seal_simulation(system, seed=31, events=EVENTS, events_per_document=60)
    trace = look_up(system, key)
    system.wait_looks_sealed(1)
    position = trace.events[0].event.position
    return Honest(key, trace, position.log, position.index)


def look_up(system: System, key: str) -> Trace:
    with system.client() as client:
        return client.trace(key, complete=False)


def content(trace: Trace) -> Any:
    """What an answer says, apart from the look-up's own ID."""
    return (
        trace.key,
        trace.nodes,
        [(each.event, tuple(each.marks), tuple(each.mentions)) for each in trace.events],
        trace.checkpoints,
    )


# -- flipping ---------------------------------------------------------------------------------------------------


def flip(value: Any, position: int) -> Any:
    """One bit of a stored value changed: of the byte at `position` of bytes or text, a high one of a number."""
    if isinstance(value, bytes):
        changed = bytearray(value)
        changed[position] ^= 1
        return bytes(changed)
    if isinstance(value, str):
        return flip(value.encode(), position).decode("utf-8", "replace")
    assert isinstance(value, int)
    return value ^ 1 << 20  # a low one may give a height that is taken, which the store itself refuses


@contextmanager
def flipped(system: System, collection: str, key: Any, place: Place, position: int = 0) -> Iterator[None]:
    """A document of the store has one bit changed within, and is as it was afterwards."""
    stored = system.store[collection].find_one({"_id": key})
    assert stored is not None, (collection, key)
    changed = opened(stored) if collection == "packs" else copy.deepcopy(stored)
    holder: Any = changed
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = flip(holder[place[-1]], position)
    changed = closed(changed) if collection == "packs" else changed
    assert changed != stored
    system.store[collection].replace_one({"_id": key}, changed)
    try:
        yield
    finally:
        system.store[collection].replace_one({"_id": key}, stored)


@contextmanager
def removed(system: System, collection: str, key: Any) -> Iterator[None]:
    """A document is gone from the store, and back afterwards."""
    stored = system.store[collection].find_one_and_delete({"_id": key})
    assert stored is not None, (collection, key)
    try:
        yield
    finally:
        system.store[collection].insert_one(stored)


def pack_with(system: System, log: str, index: int) -> tuple[Document, int]:
    """The pack that has an entry, and the entry's number in it."""
    (pack,) = system.store["packs"].find({"log": log, "first": {"$lte": index}}).sort("first", -1).limit(1)
    return opened(pack), index - pack["first"]


def block_with(system: System, log: str, index: int) -> Document:
    """The block that has an entry."""
    found = system.store["blocks"].find_one({"log": log, "first": {"$lte": index}, "size": {"$gt": index}})
    assert found is not None
    return found


# -- `goodstrace verify` ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verified:
    """What the command said: its exit status and the faults as (log, block, index, field)."""

    status: int
    faults: list[Document]


@pytest.fixture
def verify(
    system: System, honest: Honest, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Verified]:
    """The command in this process (starting Python for each of hundreds of flips would take minutes)."""
    for name, value in system.environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["goodstrace", "fsck", "--vkeys", str(system.key_dir), *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, capsys.readouterr().out

    def verified(*arguments: str) -> Verified:
        status, out = run("--json", *arguments)
        answer = json.loads(out)
        assert answer["sound"] == (status == 0)
        return Verified(status, [fault for log in answer["logs"] for fault in log["faults"]])

    return verified


Verify = Callable[..., Verified]


def test_what_nobody_touched_is_sound(verify: Verify, system: System) -> None:
    found = verify("--kafka")
    assert (found.status, found.faults) == (0, [])
    assert system.store["blocks"].count_documents({}) > 6


RECORD_FIELDS: list[tuple[str, Place]] = [
    ("entry", ("entry",)),
    ("event", ("parts", 0, "content")),
    ("facts", ("parts", 1, "content")),
    ("salt of event", ("parts", 0, "salt")),
    ("salt of facts", ("parts", 1, "salt")),
    ("name of event", ("parts", 0, "name")),
    ("tags", ("tags",)),
]


@pytest.mark.parametrize(("what", "place"), RECORD_FIELDS, ids=[what for what, _ in RECORD_FIELDS])
def test_a_flipped_byte_of_a_record_is_found_at_its_index(
    system: System, honest: Honest, verify: Verify, what: str, place: Place
) -> None:
    sizes = {log: each.checkpoint.size for log, each in honest.trace.checkpoints.items()}
    for log, index in ((honest.log, honest.index), ("goods/0", 0), ("goods/1", sizes["goods/1"] - 1)):
        pack, number = pack_with(system, log, index)
        for position in (0, -1):
            with flipped(system, "packs", pack["_id"], ("records", number, *place), position):
                found = verify()
            assert found.status == 1
            assert (log, index) in {(fault["log"], fault["index"]) for fault in found.faults}, found.faults
            assert {fault["log"] for fault in found.faults} == {log}
            assert block_with(system, log, index)["height"] in {fault["block"] for fault in found.faults}


BLOCK_FIELDS = ["header", "signature", "leaves", "first", "size", "height"]


@pytest.mark.parametrize("field", BLOCK_FIELDS)
def test_a_flipped_byte_of_a_block_is_found_at_its_height(system: System, verify: Verify, field: str) -> None:
    for block in system.store["blocks"].find({"log": "goods/1"}).sort("height", 1).limit(2):
        for position in (0, len(block["header"]) // 2 if field == "header" else 31, -1):
            with flipped(system, "blocks", block["_id"], (field,), position):
                found = verify()
            assert found.status == 1
            assert {fault["log"] for fault in found.faults} == {"goods/1"}
            assert block["height"] in {fault["block"] for fault in found.faults}, found.faults


def test_a_flipped_row_of_the_index_is_found(system: System, verify: Verify, honest: Honest) -> None:
    index = system.store["runs"].find_one({"_id": honest.log})
    assert index is not None
    page = system.store["pages"].find_one(
        {"_id": f"{index['runs'][-1][0]}/0"}
    )  # others may be merged, and not read
    assert page is not None
    for position in (0, len(page["data"]) - 1):
        with flipped(system, "pages", page["_id"], ("data",), position):
            found = verify()
        assert found.status == 1
        assert {(fault["log"], fault["field"]) for fault in found.faults} == {(honest.log, "index")}


def test_what_the_root_log_has_sealed_is_compared(system: System, verify: Verify) -> None:
    pin = system.store["pins"].find_one({"log": "goods/1"})
    assert pin is not None
    with flipped(system, "blocks", f"goods/1#{pin['height']}", ("header",), -2):
        found = verify()
    assert ("goods/1", pin["height"], "root-log") in {
        (f["log"], f["block"], f["field"]) for f in found.faults
    }
    with removed(system, "pins", pin["_id"]):
        found = verify()
    assert [(f["log"], f["block"], f["field"]) for f in found.faults] == [
        ("goods/1", pin["height"], "pinned")
    ]


def test_browse_logs_are_checked_as_well(system: System, verify: Verify) -> None:
    pack, number = pack_with(system, "browse/0", 0)
    for place in (("entry",), ("parts", 0, "content"), ("parts", 2, "salt")):
        with flipped(system, "packs", pack["_id"], ("records", number, *place), 3):
            found = verify()
        assert ("browse/0", 0) in {(fault["log"], fault["index"]) for fault in found.faults}


def test_the_command_itself_ends_with_1_and_names_the_place(system: System, honest: Honest) -> None:
    pack, number = pack_with(system, honest.log, honest.index)
    with flipped(system, "packs", pack["_id"], ("records", number, "parts", 0, "content"), 5):
        done = system.cli("verify")
    assert done.returncode == 1
    assert f"{honest.log}, block" in done.stdout
    assert f"index {honest.index}" in done.stdout
    assert "Traceback" not in done.stderr
    assert system.cli("verify").returncode == 0


# -- `Client.trace` ---------------------------------------------------------------------------------------------


def refusal(system: System, key: str) -> GoodstraceError:
    """How the client refuses; a service may have found it before: then nothing is shown, and it is its own fault."""
    with pytest.raises(GoodstraceError) as raised:
        look_up(system, key)
    if isinstance(raised.value, CallError):
        assert raised.value.code == "DATA_LOSS"
    else:
        assert isinstance(raised.value, VerificationError)
    return raised.value


@pytest.mark.parametrize(("what", "place"), RECORD_FIELDS[:5], ids=[what for what, _ in RECORD_FIELDS[:5]])
def test_a_trace_made_of_a_flipped_record_is_refused(
    system: System, honest: Honest, what: str, place: Place
) -> None:
    for traced in (honest.trace.events[0], honest.trace.events[-1]):
        position = traced.event.position
        pack, number = pack_with(system, position.log, position.index)
        for byte in (0, 17, -1):
            with flipped(system, "packs", pack["_id"], ("records", number, *place), byte):
                refusal(system, honest.key)
    assert content(look_up(system, honest.key)) == content(honest.trace)


def test_a_trace_proved_by_a_flipped_tile_is_refused(system: System, honest: Honest) -> None:
    places = {
        (each.log, each.index)
        for event in honest.trace.events
        for each in (event.event.position, *event.event.also_at)
    }
    shown = sorted(index for log, index in places if log == honest.log)
    size = honest.trace.checkpoints[honest.log].checkpoint.size
    sibling = multiproof_path(shown, size)[0].start  # the first hash that the proof needs is made of it
    tile = system.store["tiles"].find_one({"log": honest.log, "level": 0, "n": sibling // 256})
    assert tile is not None
    assert sibling % 256 < tile["width"]
    try:
        for byte in (0, 31):
            with flipped(system, "tiles", tile["_id"], ("data",), sibling % 256 * 32 + byte):
                forget(system)
                refusal(system, honest.key)
    finally:
        forget(system)


def forget(system: System) -> None:
    """Let the query service read anew what it remembers: tiles and pages, as they were when they were right, or are."""
    system.daemons["query"].stop()
    system.restart("query")


@pytest.mark.parametrize("field", ["note", "size", "root"])
def test_a_trace_under_a_flipped_checkpoint_is_refused_or_the_same(
    system: System, honest: Honest, field: str
) -> None:
    head = system.store["heads"].find_one({"_id": honest.log})
    assert head is not None
    newest = f"{honest.log}@{head['published']['size']}"
    for position in (0, -2):
        with (
            flipped(system, "heads", honest.log, ("published", field), position),
            flipped(system, "checkpoints", newest, (field,), position),
        ):
            if field == "root":  # beside the note, which has it too: no answer needs it
                try:
                    answer = look_up(system, honest.key)
                except GoodstraceError:
                    continue
                assert content(answer) == content(honest.trace)
            else:
                refusal(system, honest.key)


@pytest.mark.parametrize("field", BLOCK_FIELDS)
def test_a_flipped_block_never_changes_an_answer(system: System, honest: Honest, field: str) -> None:
    block = block_with(system, honest.log, honest.index)
    with flipped(system, "blocks", block["_id"], (field,), -1):
        try:
            answer = look_up(system, honest.key)
        except GoodstraceError:
            return
        assert content(answer) == content(honest.trace)
