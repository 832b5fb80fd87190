"""The rounds of the root log: what is pinned and when, whatever fails or is paused in between."""

import asyncio
import json
from collections.abc import Iterable, Sequence

import pytest
import rfc8785
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from goodstrace import block as blocks
from goodstrace import entry as entries
from goodstrace import key_changes, root
from goodstrace.block import BlockHeader, KafkaRange
from goodstrace.entry import Kind, TagKind
from goodstrace.errors import EntryError
from goodstrace.key_changes import KeyChange
from goodstrace.note import Signer
from goodstrace.root import PinnedHead
from services.ledger.metrics import RootMetrics
from services.ledger.root_rounds import RootRounds
from services.runtime import envelope
from services.runtime.errors import UnavailableError
from services.runtime.kafka import FencedError
from services.sealing import entries as sealable
from services.sealing.errors import CorruptError
from services.sealing.pins import PinnedBlock, SignedHeader
from services.sealing.values import Head, StoredCheckpoint
from tests.memory_store import TestClock

NOTE = "example.org/1/goods/0\n{size}\nq6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=\n\n— example.org/1/goods/0 AAAAAAAA\n"


class MemoryHeads:
    """Heads that a test lets grow, and what was pinned of them."""

    def __init__(self) -> None:
        self.grown: dict[str, Head] = {}
        self.kept: dict[tuple[str, int], SignedHeader] = {}
        self.marks: set[tuple[str, int]] = set()
        self.lose_marks = False
        self.changes: dict[str, tuple[KeyChange, ...]] = {}

    def grow(self, log: str, count: int = 1) -> None:
        before = self.grown.get(log)
        height = before.height + 1 if before else 0
        first = before.checkpoint.size if before else 0
        header = BlockHeader(
            count=count,
            first=first,
            height=height,
            kafka=KafkaRange("cluster", first, first + count, 0, "topic", "id"),
            log=log,
            previous="0" * 64,
            root="ab" * 32,
            size=first + count,
            time=1_700_000_000_000,
        )
        self.kept[log, height] = SignedHeader(blocks.encode(header), b"")
        stored = StoredCheckpoint(log, header.size, bytes.fromhex(header.root), NOTE.format(size=header.size))
        self.grown[log] = Head(height, stored)

    async def heads(self) -> dict[str, Head]:
        return dict(self.grown)

    async def key_changes(self) -> dict[str, tuple[KeyChange, ...]]:
        return dict(self.changes)

    async def pinned(self, heads: Iterable[Head]) -> set[str]:
        return {head.checkpoint.log for head in heads if _place(head) in self.marks}

    async def headers(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], SignedHeader]:
        return {place: self.kept[place] for place in places}

    async def pin(self, heads: Iterable[Head]) -> None:
        marks = {_place(head) for head in heads}
        if marks and self.lose_marks:
            raise UnavailableError("the store is away")
        self.marks |= marks

    async def pin_again(self, pinned: Iterable[PinnedBlock]) -> None:
        await self.pin(
            each.head
            for each in pinned
            if (kept := self.kept.get((each.head.checkpoint.log, each.head.height))) is not None
            and blocks.header_hash(kept.header) == each.block
        )


class MemoryTopicServer:
    """A topic with fenced writers, as Kafka's transactions make them."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.epoch = 0
        self.away = False
        self.lose_answers = False

    def pins(self) -> list[PinnedHead]:
        return [root.decode(envelope.decode(value).part("checkpoint").content) for value in self.values]


class MemoryWriter:
    """One writer of the topic."""

    def __init__(self, server: MemoryTopicServer) -> None:
        self._server = server
        self._epoch = 0

    async def take_over(self) -> None:
        if self._server.away:
            raise UnavailableError("Kafka is away")
        self._server.epoch += 1
        self._epoch = self._server.epoch

    async def write(self, values: Sequence[bytes]) -> None:
        if self._epoch != self._server.epoch:
            raise FencedError("another writer took over")
        if self._server.away:
            raise UnavailableError("Kafka is away")
        self._server.values += values
        if self._server.lose_answers:
            raise UnavailableError("the answer was lost")

    async def newest(self, count: int) -> list[bytes]:
        if self._server.away:
            raise UnavailableError("Kafka is away")
        return self._server.values[-count:]

    async def give_up(self) -> None:
        self._epoch = 0


class Process:
    """The rounds of one process."""

    def __init__(self, heads: MemoryHeads, server: MemoryTopicServer) -> None:
        self.owns = True
        self.metrics = RootMetrics(CollectorRegistry())
        self.rounds = RootRounds(
            heads,
            MemoryWriter(server),
            lambda: self.owns,
            interval_s=0.001,
            now_ms=TestClock(1_700_000_004_000).now_ms,
            metrics=self.metrics,
            log=structlog.get_logger(),
        )


@pytest.fixture
def heads() -> MemoryHeads:
    return MemoryHeads()


@pytest.fixture
def server() -> MemoryTopicServer:
    return MemoryTopicServer()


def _place(head: Head) -> tuple[str, int]:
    return head.checkpoint.log, head.checkpoint.size


def sizes(server: MemoryTopicServer) -> list[tuple[str, int]]:
    return [(each.log, int(each.note.split("\n")[1])) for each in server.pins()]


async def test_each_round_pins_what_grew(heads: MemoryHeads, server: MemoryTopicServer) -> None:
    process = Process(heads, server)
    assert await process.rounds.round() == 0
    heads.grow("goods/1", 5)
    heads.grow("browse/0", 2)
    assert await process.rounds.round() == 2
    assert process.metrics.lag._value.get() == pytest.approx(4, abs=0.1)
    assert await process.rounds.round() == 0
    assert process.metrics.lag._value.get() == 0
    heads.grow("goods/1")
    heads.grow("goods/1")
    assert await process.rounds.round() == 1
    assert sizes(server) == [("browse/0", 2), ("goods/1", 5), ("goods/1", 7)]
    assert process.metrics.pinned._value.get() == 3
    pinned = server.pins()[-1]
    assert pinned.block == blocks.header_hash(heads.kept["goods/1", 2].header)
    assert (pinned.height, pinned.note) == (2, NOTE.format(size=7))


async def test_who_makes_no_rounds_tells_of_no_lag(heads: MemoryHeads, server: MemoryTopicServer) -> None:
    process = Process(heads, server)
    heads.grow("goods/1", 5)
    await process.rounds.round()
    assert process.metrics.lag._value.get() > 0
    process.owns = False
    assert await process.rounds.round() == 0
    assert process.metrics.lag._value.get() == 0
    assert process.metrics.rounds._value.get() == 1, "a round that is not made is none"


async def test_its_records_can_be_sealed_and_found(heads: MemoryHeads, server: MemoryTopicServer) -> None:
    heads.grow("goods/0", 3)
    await Process(heads, server).rounds.round()
    record = envelope.decode(server.values[0])
    entry = sealable.check(record)
    assert entry.kind == Kind.CHECKPOINT
    assert list(record.tags) == [entries.tag(root.TAG_KEY, TagKind.CHECKPOINT, "goods/0@3")]


def changed(heads: MemoryHeads, log: str) -> None:
    """Change the key of a log after what it has grown to."""
    head, before = heads.grown[log], heads.changes.get(log, ())
    keys = [Signer(f"example.org/1/{log}", bytes([len(before) + number]) * 32) for number in (1, 2)]
    size, height = head.checkpoint.size, head.height + 1
    change = key_changes.sign(
        log=log, height=height, size=size, previous="ab" * 32, time=height, old=keys[0], new=keys[1]
    )
    heads.changes[log] = (*before, change)


def sealed_changes(server: MemoryTopicServer) -> list[list[KeyChange]]:
    """The changes of key in each record."""
    found = [envelope.decode(value).parts for value in server.values]
    return [
        [
            key_changes.parse(line)
            for part in parts
            if part.name == root.KEY_CHANGES_PART
            for line in part.content.split(b"\n")
        ]
        for parts in found
    ]


async def test_changes_of_key_are_sealed_with_the_first_checkpoint_of_the_new_key(
    heads: MemoryHeads, server: MemoryTopicServer
) -> None:
    process = Process(heads, server)
    heads.grow("goods/0", 3)
    await process.rounds.round()
    changed(heads, "goods/0")
    assert await process.rounds.round() == 0, "nothing is published by the new key yet"
    for _ in range(2):
        heads.grow("goods/0")
        await process.rounds.round()
    changed(heads, "goods/0")
    heads.grow("goods/0")
    await process.rounds.round()
    chain = list(heads.changes["goods/0"])
    assert sealed_changes(server) == [[], chain[:1], [], chain]
    sealable.check(envelope.decode(server.values[-1]))
    heads.grow("goods/0")
    await Process(heads, server).rounds.round()
    assert sealed_changes(server)[-1] == chain, "a new owner does not know, and seals them again"


async def test_who_does_not_own_the_root_log_makes_no_rounds(
    heads: MemoryHeads, server: MemoryTopicServer
) -> None:
    process = Process(heads, server)
    process.owns = False
    heads.grow("goods/0")
    assert await process.rounds.round() == 0
    assert (server.values, server.epoch) == ([], 0)
    process.owns = True
    assert await process.rounds.round() == 1


async def test_a_new_owner_goes_on_where_the_last_one_was(
    heads: MemoryHeads, server: MemoryTopicServer
) -> None:
    heads.grow("goods/0")
    heads.grow("goods/1")
    await Process(heads, server).rounds.round()
    heads.grow("goods/1")
    assert await Process(heads, server).rounds.round() == 1
    assert sizes(server) == [("goods/0", 1), ("goods/1", 1), ("goods/1", 2)]


async def test_who_was_paused_writes_nothing_old(heads: MemoryHeads, server: MemoryTopicServer) -> None:
    paused, after = Process(heads, server), Process(heads, server)
    heads.grow("goods/0")
    await paused.rounds.round()
    heads.grow("goods/0")
    old = await heads.heads()
    heads.grow("goods/0")
    await after.rounds.round()
    new, heads.grown = heads.grown, old  # what it had read before it was paused
    with pytest.raises(FencedError):
        await paused.rounds.round()
    heads.grown = new
    assert sizes(server) == [("goods/0", 1), ("goods/0", 3)]


@pytest.mark.parametrize("lost", ["lose_answers", "lose_marks"])
async def test_a_lost_answer_leaves_no_duplicate(
    heads: MemoryHeads, server: MemoryTopicServer, lost: str
) -> None:
    faulty = server if lost == "lose_answers" else heads
    setattr(faulty, lost, True)
    heads.grow("goods/0")
    process = Process(heads, server)
    with pytest.raises(UnavailableError):
        await process.rounds.round()
    setattr(faulty, lost, False)
    heads.grow("goods/0")
    stop = asyncio.Event()
    running = asyncio.create_task(process.rounds.run(stop))
    async with asyncio.timeout(10):
        while len(server.values) < 2:  # noqa: ASYNC110 - what is waited for is the other task's
            await asyncio.sleep(0)
    stop.set()
    await running
    assert sizes(server) == [("goods/0", 1), ("goods/0", 2)]


@pytest.mark.parametrize("lost", ["lose_answers", "lose_marks"])
async def test_what_a_dead_process_wrote_and_did_not_mark_is_marked_by_the_next(
    heads: MemoryHeads, server: MemoryTopicServer, lost: str
) -> None:
    faulty = server if lost == "lose_answers" else heads
    heads.grow("goods/0")
    heads.grow("goods/1")
    setattr(faulty, lost, True)
    with pytest.raises(UnavailableError):
        await Process(heads, server).rounds.round()
    setattr(faulty, lost, False)
    heads.grow("goods/0")
    after = Process(heads, server)
    assert await after.rounds.round() == 1
    assert heads.marks == set(sizes(server)) == {("goods/0", 1), ("goods/0", 2), ("goods/1", 1)}
    assert await after.rounds.round() == 0


async def test_what_is_not_of_this_store_is_not_marked(heads: MemoryHeads, server: MemoryTopicServer) -> None:
    """A store made anew from Kafka has other blocks than those that the topic pins."""
    heads.grow("goods/0")
    await Process(heads, server).rounds.round()
    again = MemoryHeads()
    again.grow("goods/0")
    again.kept["goods/0", 0] = SignedHeader(
        heads.kept["goods/0", 0].header.replace(b'"cluster":"cluster"', b'"cluster":"another"'), b""
    )
    assert await Process(again, server).rounds.round() == 1
    assert server.pins()[-1].block == blocks.header_hash(again.kept["goods/0", 0].header)


async def test_faults_that_pass_are_waited_for_and_counted(
    heads: MemoryHeads, server: MemoryTopicServer
) -> None:
    server.away = True
    heads.grow("goods/0")
    process = Process(heads, server)
    stop = asyncio.Event()
    running = asyncio.create_task(process.rounds.run(stop))
    async with asyncio.timeout(10):
        while process.metrics.failures._value.get() < 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        server.away = False
        while not server.values:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
    stop.set()
    await running
    assert sizes(server) == [("goods/0", 1)]


async def test_a_block_that_is_not_the_checkpoints_stops_it(
    heads: MemoryHeads, server: MemoryTopicServer
) -> None:
    heads.grow("goods/0")
    heads.kept["goods/0", 0] = SignedHeader(heads.kept["goods/0", 0].header.replace(b"ab", b"cd"), b"")
    with pytest.raises(CorruptError, match="does not end with the checkpoint"):
        await Process(heads, server).rounds.run(asyncio.Event())
    assert server.values == []


@given(
    st.lists(
        st.tuples(st.sampled_from(["grow 0", "grow 1", "round", "other", "away", "lost", "marks"])),
        max_size=30,
    )
)
def test_the_topic_never_goes_backwards(steps: list[tuple[str]]) -> None:
    async def play() -> None:
        heads, server = MemoryHeads(), MemoryTopicServer()
        processes = [Process(heads, server), Process(heads, server)]
        for (step,) in steps:
            if step.startswith("grow"):
                heads.grow(f"goods/{step[-1]}")
            elif step in ("round", "other"):
                try:
                    await processes[step == "other"].rounds.round()
                except (UnavailableError, FencedError):
                    await processes[step == "other"].rounds._forget()
            else:
                faulty, name = {
                    "away": (server, "away"),
                    "lost": (server, "lose_answers"),
                    "marks": (heads, "lose_marks"),
                }[step]
                setattr(faulty, name, not getattr(faulty, name))
        server.away = server.lose_answers = heads.lose_marks = False
        last = Process(heads, server)
        await last.rounds.round()
        for log, head in heads.grown.items():
            seen = [size for each, size in sizes(server) if each == log]
            assert seen == sorted(set(seen)), "nothing goes backwards, and nothing is there twice"
            assert heads.marks >= {(log, size) for size in seen}
            assert seen[-1] == head.checkpoint.size

    asyncio.run(play())


PINNED = PinnedHead("ab" * 32, 7, "goods/0", NOTE.format(size=3))


@given(st.integers(0, 2**53 - 1), st.from_regex(r"[ -~]{1,40}", fullmatch=True), st.text(max_size=80))
def test_what_is_pinned_is_rfc_8785_and_read_back(height: int, log: str, text: str) -> None:
    pinned = PinnedHead("ab" * 32, height, log, text)
    try:
        data = root.encode(pinned)
    except EntryError:
        return
    assert root.decode(data) == pinned
    assert data == rfc8785.dumps({"block": "ab" * 32, "height": height, "log": log, "note": text})


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_with_one_error(data: bytes) -> None:
    with pytest.raises(EntryError):
        root.decode(data)


@pytest.mark.parametrize(
    "changed",
    [{"block": "AB" * 32}, {"block": ""}, {"height": -1}, {"log": "goods\n0"}, {"note": "a\tb"}, {"more": 1}],
)
def test_fields_out_of_their_limits_are_refused(changed: dict[str, object]) -> None:
    document = json.loads(root.encode(PINNED)) | changed
    with pytest.raises(EntryError):
        root.decode(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
    spaced = json.dumps(json.loads(root.encode(PINNED)), sort_keys=True).encode()
    with pytest.raises(EntryError):
        root.decode(spaced)
