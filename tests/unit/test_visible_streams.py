"""What streams and recalls show of what not everybody may see: nothing of it, but that it is sealed, and that is proved."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.client import Client
from goodstrace.entry import Position, TagKind, tag
from goodstrace.errors import VerificationError
from goodstrace.identifiers import canonical_key
from goodstrace.query.v1 import recall_pb2, trace_pb2, withheld_pb2
from goodstrace.simulate import SimulationOptions, simulate
from goodstrace.tracing.model import NameKind
from goodstrace.tracing.names import TAG_KINDS
from goodstrace.tracing.recall import Reached
from goodstrace.tracing.recalling import Found, Numbered
from goodstrace.visibility import Visibility, VisibilityPolicy
from goodstrace.withheld import Withheld
from services.query import recall_withheld
from services.query import withheld as listing
from services.query.recall_withheld import RecallWithheld
from services.query.sight import READ, VisibleLogs
from services.runtime.access.values import Principal
from services.runtime.merchants.errors import UnauthenticatedError
from services.sealing.values import SealedRecord
from tests.unit.collector_builders import SECRET
from tests.unit.test_visible_answers import POLICIES, VIEWERS, assert_nothing_leaks, may_see, numbers
from tests.unit.visible_world import CARRIER, CASE, EVENTS, INPUT, ITEM, MAKER, SHOP, STRANGER, World, place

PRIVATE = {each: VisibilityPolicy(Visibility.PRIVATE) for each in (MAKER, CARRIER, SHOP)}


def recalled(client: Client, key: str, **options: Any) -> tuple[set[tuple[str, int]], list[Withheld]]:
    """The places of a recall's events, and what it withholds."""
    pieces = list(client.recall(key, **options))
    positions = [each.event.position for piece in pieces for each in piece.events]
    summary = pieces[-1].summary
    found = [each for piece in pieces for each in piece.withheld_entries]
    assert summary is not None
    assert summary.total_withheld == len(found)
    return {(each.log, each.index) for each in positions}, found


def places_of(withheld: Any) -> list[tuple[str, int]]:
    return [each.place for each in withheld]


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("viewer", VIEWERS)
@pytest.mark.parametrize("key", [ITEM, CASE, INPUT])
def test_a_streamed_trace_withholds_what_the_trace_does(name: str, viewer: int, key: str) -> None:
    world = World(POLICIES[name])
    client = world.client(viewer)
    visible = {each for each in range(1, 8) if may_see(viewer, POLICIES[name], each)}
    for direction in ("both", "upstream", "downstream", "history"):
        whole = client.trace(key, direction=direction)
        *before, last = client.stream_trace(key, direction=direction)
        assert last.withheld_entries == whole.withheld_entries
        assert last.total_withheld == whole.total_withheld == len(whole.withheld_entries)
        assert last.nodes == whole.nodes
        assert last.tree_verified
        assert numbers(world, last.events) <= visible
        assert {world.number_at(*each.place) for each in last.withheld_entries}.isdisjoint(visible)
        told = [set(places_of(each.withheld_entries)) for each in (*before, last)]
        assert all(fewer <= more for fewer, more in pairwise(told))
    assert_nothing_leaks(world, set(range(1, 8)) - visible)
    assert {each.merchant for each in world.browses} == {viewer}


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("viewer", VIEWERS)
@pytest.mark.parametrize("key", [ITEM, CASE, INPUT])
def test_a_recall_withholds_what_the_trace_downstream_does(name: str, viewer: int, key: str) -> None:
    world = World(POLICIES[name])
    client = world.client(viewer)
    visible = {each for each in range(1, 8) if may_see(viewer, POLICIES[name], each)}
    whole = client.trace(key, direction="downstream", max_depth=100)
    shown, withheld = recalled(client, key)
    assert sorted(places_of(withheld)) == places_of(whole.withheld_entries)
    assert {world.number_at(*each) for each in shown} <= visible
    for each in withheld:
        number = world.number_at(*each.place)
        assert number not in visible
        assert each.entry.entry.merchant == EVENTS[number - 1][0]
        assert each.tag == tag(SECRET, TAG_KINDS[each.kind], each.name)
    assert_nothing_leaks(world, set(range(1, 8)) - visible)


def test_a_model_in_which_something_is_withheld_on_each_level() -> None:
    """The policies above would not show a stream that tells of the first level alone."""
    world = World({SHOP: VisibilityPolicy(Visibility.PRIVATE), MAKER: VisibilityPolicy(Visibility.PUBLIC)})
    traces = list(world.client(STRANGER).stream_trace(INPUT))
    counts = [each.total_withheld for each in traces]
    assert counts[0] == 0
    assert counts[-1] == 4
    [first, *others] = [
        each.level
        for each in world.answers
        if isinstance(each, trace_pb2.StreamTraceResponse) and each.withheld_entries
    ]
    assert first == 1
    assert others == []


@pytest.mark.parametrize("method", ["StreamTrace", "Recall"])
@pytest.mark.parametrize("viewer", [0, STRANGER, MAKER])
def test_a_stream_tells_of_what_is_withheld_by_goods_and_never_by_places(viewer: int, method: str) -> None:
    world = World(PRIVATE)
    client = world.client(viewer)
    for key in (place(CARRIER), place(SHOP)):
        assert withheld_of(method, client, key) == []
    assert len(withheld_of(method, client, CASE)) == (5 if viewer != MAKER else 4)


def withheld_of(method: str, client: Client, key: str) -> list[Withheld]:
    if method == "Recall":
        return recalled(client, key)[1]
    *_, last = client.stream_trace(key)
    return list(last.withheld_entries)


@pytest.mark.parametrize("method", ["StreamTrace", "Recall"])
def test_what_is_withheld_comes_in_messages_no_larger_than_a_page(method: str) -> None:
    whole = withheld_of(method, World({}, copies=40).client(STRANGER), ITEM)
    world = World({}, copies=40, page_bytes=5_000)
    found = withheld_of(method, world.client(STRANGER), ITEM)
    assert sorted(places_of(found)) == sorted(places_of(whole))
    listed = [each for each in world.answers if each.withheld_entries]
    assert sum(len(each.withheld_entries) for each in listed) == len(found) == 4 * 40
    assert len(listed) > 10
    assert max(each.ByteSize() for each in listed) < 5_000


def test_a_recall_withholds_any_number_in_steps_of_as_many_as_an_answer_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A hundred goods are a step. A trace, which has to hold what it withholds until its end, is cut."""
    items = [f"urn:epc:id:sgtin:9521231.054321.{number}" for number in range(150)]
    made = {**EVENTS[0][1], "outputEPCList": items}
    sold = [
        (
            SHOP,
            {
                **EVENTS[6][1],
                "eventID": f"urn:uuid:00000000-0000-4000-8000-9{number:011d}",
                "epcList": [item],
            },
        )
        for number, item in enumerate(items)
    ]
    policies = {MAKER: VisibilityPolicy(Visibility.PUBLIC)}
    held: list[int] = []
    forget = VisibleLogs.forget

    def noted(logs: VisibleLogs) -> None:
        held.append(len(logs.withheld))
        forget(logs)

    monkeypatch.setattr(VisibleLogs, "forget", noted)
    client = World(policies, max_events=120, events=[(MAKER, made), *sold]).client(STRANGER)
    *_, last = client.recall(INPUT)
    assert last.summary is not None
    assert last.summary.total_withheld == 150
    assert max(held) == 100
    assert not last.summary.truncated
    assert client.trace(INPUT, direction="downstream").truncated


def unpacked(number: int, parent: str, child: str) -> tuple[int, dict[str, Any]]:
    event = {**EVENTS[5][1], "eventID": f"urn:uuid:00000000-0000-4000-8000-8{number:011d}"}
    event["eventTime"] = f"2026-01-02T03:0{number}:00Z"
    return MAKER, {**event, "parentID": parent, "childEPCs": [child]}


def test_what_a_step_met_before_anything_led_to_it_is_told_once_something_does() -> None:
    """What is deep in the container is looked up with it; the event that names it comes with the next goods."""
    pallet = "urn:epc:id:sscc:9521231.0000000002"
    chain = [unpacked(1, pallet, CASE), unpacked(2, CASE, ITEM), EVENTS[6]]
    client = World({MAKER: VisibilityPolicy(Visibility.PUBLIC)}, events=chain).client(STRANGER)
    whole = client.trace(pallet, direction="downstream", max_depth=100)
    _, withheld = recalled(client, pallet)
    assert places_of(withheld) == places_of(whole.withheld_entries)
    assert [each.name for each in withheld] == [canonical_key(ITEM)]


@pytest.mark.parametrize("most", [0, 10_000])
def test_a_recall_that_dropped_what_waited_says_that_there_may_be_more(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(recall_withheld, "MAX_WAITING", most)
    pallet = "urn:epc:id:sscc:9521231.0000000002"
    chain = [unpacked(1, pallet, CASE), unpacked(2, CASE, ITEM), EVENTS[6]]
    client = World({MAKER: VisibilityPolicy(Visibility.PUBLIC)}, events=chain).client(STRANGER)
    *_, last = client.recall(pallet)
    assert last.summary is not None
    assert last.summary.truncated == (most == 0)
    assert last.summary.total_withheld == (1 if most else 0)


async def test_of_what_waits_the_oldest_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall_withheld, "MAX_WAITING", 5)  # four entries have the one name, five the other
    world = await asyncio.to_thread(World, PRIVATE)
    logs = VisibleLogs(world.logs, await world.sight.eyes(Principal()), SECRET, 100)  # type: ignore[arg-type]
    sizes = {log: len(records) for log, records in world.logs.records_of.items()}
    telling = RecallWithheld(logs, sizes, 10**6)
    names = {tag(SECRET, TagKind.KEY, key): (NameKind.KEY, key) for key in map(canonical_key, (ITEM, CASE))}
    for named in names:
        await logs.find([named], sizes, 100)
        assert [each async for each in telling.messages(names)] == []
        assert logs.withheld == {}
    for number, (_, key) in enumerate(names.values()):
        telling.show(Found(0, goods=(Numbered(number, "item", Reached(key)),)))
    [listed] = [each async for each in telling.messages({})]
    assert {each.found_by.name for each in listed} == {canonical_key(CASE)}
    assert telling.told == len(listed) == 5
    assert telling.is_cut


async def test_what_was_told_by_another_name_may_be_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await asyncio.to_thread(World, PRIVATE)
    logs = VisibleLogs(world.logs, await world.sight.eyes(Principal()), SECRET, 100)  # type: ignore[arg-type]
    sizes = {log: len(records) for log, records in world.logs.records_of.items()}
    telling = RecallWithheld(logs, sizes, 10**6)
    monkeypatch.setattr(recall_withheld, "MAX_WAITING", 0)
    telling.show(Found(0, goods=(Numbered(0, "item", Reached(canonical_key(ITEM))),)))
    names = ((NameKind.KEY, canonical_key(ITEM)), (NameKind.EVENT_ID, str(EVENTS[6][1]["eventID"])))
    for kind, text in names:
        named = tag(SECRET, TAG_KINDS[kind], text)
        await logs.find([named], sizes, 100)
        assert logs.told
        _ = [each async for each in telling.messages({named: (kind, text)})]
    assert telling.told == 4
    assert not telling.is_cut


def test_over_its_limit_a_step_says_that_there_may_be_more() -> None:
    world = World({}, max_events=3, copies=4)
    *_, last = world.client(STRANGER).recall(ITEM)
    assert last.summary is not None
    assert last.summary.truncated
    *_, streamed = world.client(STRANGER).stream_trace(ITEM)
    assert streamed.truncated
    assert 3 < streamed.total_withheld <= 28


def test_what_is_withheld_in_streams_is_counted() -> None:
    world = World({})
    withheld_of("StreamTrace", world.client(STRANGER), ITEM)
    withheld_of("Recall", world.client(STRANGER), ITEM)
    assert world.metrics.withheld._value.get() == 4 + 4


# ---- a service that lies


class Lies:
    """The messages of a stream in which a change was made; `entries` are the first that it withholds, in the message `holding`."""

    def __init__(self, world: World, messages: list[Any]) -> None:
        self.world, self.messages = world, messages
        [self.holding, *_] = [each for each in messages if each.withheld_entries]
        self.entries = self.holding.withheld_entries

    def found_by(self, name: tuple[NameKind, str]) -> withheld_pb2.FoundBy:
        """The sound proof that the first entry is about something else, too."""
        sealed = self.entries[0].sealed
        record = self.world.logs.records_of[sealed.log][sealed.index]
        return listing.found_by(record, tag(SECRET, TAG_KINDS[name[0]], name[1]), name)

    def other(self) -> withheld_pb2.WithheldEntry:
        """An entry that is withheld, with sound proofs, about other goods."""
        answer = self.world.call("Trace", trace_pb2.TraceRequest(key=CASE), self.world.shown_with(STRANGER))
        places = [(each.sealed.log, each.sealed.index) for each in self.entries]
        return next(
            each for each in answer.withheld_entries if (each.sealed.log, each.sealed.index) not in places
        )

    def say(self, more: int) -> None:
        """Count otherwise, from the level on in which something is withheld."""
        for message in self.messages[self.messages.index(self.holding) :]:
            if message.HasField("summary"):
                message.summary.total_withheld += more


def _left_out(lies: Lies) -> None:
    del lies.entries[0]


def _all_left_out(lies: Lies) -> None:
    lies.holding.ClearField("withheld_entries")


def _twice(lies: Lies) -> None:
    lies.entries.append(lies.entries[0])
    lies.say(1)


def _twice_and_counted_once(lies: Lies) -> None:
    lies.entries.append(lies.entries[0])


def _twice_in_two_messages(lies: Lies) -> None:
    again = type(lies.holding)(level=lies.holding.level, withheld_entries=[lies.entries[0]])
    lies.messages.insert(len(lies.messages) - 1, again)
    lies.say(1)


def _twice_by_two_names(lies: Lies) -> None:
    again = lies.entries.add(sealed=lies.entries[0].sealed)
    again.found_by.CopyFrom(lies.found_by((NameKind.EVENT_ID, _event_id(lies))))
    lies.say(1)


def _less(lies: Lies) -> None:
    lies.say(-1)


def _tag(lies: Lies) -> None:
    lies.entries[0].found_by.tag = tag(SECRET, TagKind.KEY, "urn:else")


def _path(lies: Lies) -> None:
    lies.entries[0].found_by.path.append(bytes(32))


def _index(lies: Lies) -> None:
    lies.entries[0].found_by.index += 1


def _name(lies: Lies) -> None:
    lies.entries[0].found_by.name = "urn:else"


def _kind(lies: Lies) -> None:
    lies.entries[0].found_by.kind = "browse"


def _order(lies: Lies) -> None:
    lies.entries[0].found_by.kind = "order"


def _part(lies: Lies) -> None:
    lies.entries[0].sealed.parts.add(name="event", salt=bytes(32), content=b"{}")


def _unsealed(lies: Lies) -> None:
    lies.entries[0].sealed.inclusion_proof[0] = bytes(32)


def _place(lies: Lies) -> None:
    lies.entries[0].sealed.index += 1


def _of_its_id(lies: Lies) -> None:
    lies.entries[0].found_by.CopyFrom(lies.found_by((NameKind.EVENT_ID, _event_id(lies))))


def _of_other_goods(lies: Lies) -> None:
    lies.entries.append(lies.other())
    lies.say(1)


def _before_what_leads_to_it(lies: Lies) -> None:
    """In a recall nothing is held until the end: what leads to a name must have come before."""
    lies.messages.remove(lies.holding)
    lies.messages.insert(1, type(lies.holding)(withheld_entries=lies.entries))


def _shown(lies: Lies) -> None:
    [sealed, *_] = [each.sealed for message in lies.messages for each in message.events]
    record = lies.world.logs.records_of[sealed.log][sealed.index]
    name = (NameKind.KEY, "https://id.gs1.org/01/09521231543216/21/1")
    entry = lies.entries.add(found_by=listing.found_by(record, tag(SECRET, TagKind.KEY, name[1]), name))
    entry.sealed.CopyFrom(sealed)
    entry.sealed.ClearField("parts")
    lies.say(1)


def _event_id(lies: Lies) -> str:
    number = lies.world.number_at(lies.entries[0].sealed.log, lies.entries[0].sealed.index)
    return str(EVENTS[number - 1][1]["eventID"])


LIES = (
    *(
        _left_out,
        _all_left_out,
        _less,
        _twice,
        _twice_and_counted_once,
        _twice_in_two_messages,
        _twice_by_two_names,
        _shown,
    ),
    *(_tag, _path, _index, _name, _kind, _part, _unsealed, _place, _of_its_id, _of_other_goods),
)


def told(method: str, key: str, viewer: int, change: Callable[[Lies], Any]) -> list[Withheld]:
    world = World({MAKER: VisibilityPolicy(Visibility.PUBLIC, {"logistics": Visibility.PRIVATE})})
    sound = world.streamed

    def lying(name: str, request: Any, metadata: Any = ()) -> Any:
        messages = sound(name, request, metadata)
        try:
            change(Lies(world, messages))
        except VerificationError as error:  # it must be the client that refuses
            raise AssertionError("the lie could not be told") from error
        return messages

    world.streamed = lying  # type: ignore[method-assign]
    return withheld_of(method, world.client(viewer), key)


@pytest.mark.parametrize("change", LIES)
@pytest.mark.parametrize("method", ["StreamTrace", "Recall"])
def test_a_stream_that_lies_of_what_it_withholds_is_refused(
    method: str, change: Callable[[Lies], Any]
) -> None:
    assert len(told(method, ITEM, STRANGER, lambda _: None)) == 3
    with pytest.raises(VerificationError):
        told(method, ITEM, STRANGER, change)


def test_a_recall_tells_of_nothing_by_the_name_of_an_order() -> None:
    with pytest.raises(VerificationError, match="does not ask"):
        told("Recall", ITEM, STRANGER, _order)


def test_what_leads_to_a_name_comes_before_what_was_found_by_it() -> None:
    with pytest.raises(VerificationError, match="does not ask"):
        told("Recall", INPUT, STRANGER, _before_what_leads_to_it)


def _unknown(lies: Lies) -> None:
    """What a client sees that does not know the fields."""
    for message in lies.messages:
        message.ClearField("withheld_entries")
        if message.HasField("summary"):
            message.summary.ClearField("total_withheld")


@pytest.mark.parametrize("method", ["StreamTrace", "Recall"])
def test_all_else_verifies_without_what_is_withheld(method: str) -> None:
    assert told(method, ITEM, STRANGER, _unknown) == []


REQUESTS: dict[str, Callable[[], Any]] = {
    "StreamTrace": lambda: trace_pb2.StreamTraceRequest(trace=trace_pb2.TraceRequest(key=ITEM)),
    "Recall": lambda: recall_pb2.RecallRequest(key=ITEM),
}


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    policies=st.dictionaries(
        st.sampled_from((MAKER, CARRIER, SHOP)),
        st.builds(
            VisibilityPolicy,
            st.sampled_from(Visibility),
            st.dictionaries(
                st.sampled_from(("production", "logistics", "sale")), st.sampled_from(Visibility)
            ),
        ),
    ),
    viewer=st.sampled_from(VIEWERS),
    direction=st.sampled_from(("both", "upstream", "downstream", "history")),
    max_depth=st.sampled_from((1, 2, 10)),
)
def test_streams_about_any_chain_withhold_what_the_trace_does_and_verify(
    seed: int, policies: dict[int, VisibilityPolicy], viewer: int, direction: str, max_depth: int
) -> None:
    options = SimulationOptions(seed=seed, events=60, corrections=0.1, returns=0.2, recalls=0.5, depth=2)
    events = [each for body in simulate(options) for each in body.content["epcisBody"]["eventList"]]
    random = Random(seed)
    world = World(policies, events=[(random.choice((MAKER, CARRIER, SHOP)), each) for each in events])
    client = world.client(viewer)
    listed = [
        each
        for event in events
        for role in ("quantityList", "inputQuantityList")
        for each in event.get(role, ())
    ]
    keys = {key for each in events for key in (*each.get("epcList", ()), *each.get("childEPCs", ()))}
    keys |= {each["epcClass"] for each in listed} | {
        each["parentID"] for each in events if "parentID" in each
    }
    for key in random.sample(sorted(keys), min(4, len(keys))):
        whole = client.trace(key, direction=direction, max_depth=max_depth)
        *_, last = client.stream_trace(key, direction=direction, max_depth=max_depth)
        assert last.tree_verified == whole.tree_verified
        assert whole.truncated or places_of(last.withheld_entries) == places_of(whole.withheld_entries)
        downstream = client.trace(key, direction="downstream", max_depth=100)
        _, withheld = recalled(client, key)
        assert set(places_of(withheld)) <= set(places_of(downstream.withheld_entries))
        # A trace looks up several levels in one round, some of it on ways that a correction ends; a recall does not go there.
        goods = {each.key for each in downstream.nodes}
        missing = [each for each in downstream.withheld_entries if each.place not in set(places_of(withheld))]
        assert not any(each.name in goods for each in missing)


@pytest.mark.parametrize("method", ["StreamTrace", "Recall"])
def test_a_key_that_does_not_count_gets_no_message(method: str) -> None:
    world = World({})
    with pytest.raises(UnauthenticatedError):
        world.streamed(method, REQUESTS[method](), (("authorization", "Bearer nonsense"),))
    assert not world.browses


class Untold:
    """A log of as many events of a place as are asked for, of which nothing may be told; counts how often it is read."""

    def __init__(self, one: SealedRecord, size: int) -> None:
        self.one, self.size, self.reads, self.most = one, size, 0, 0

    def _records(self, first: int, limit: int) -> list[SealedRecord]:
        self.reads += 1
        return [
            msgspec.structs.replace(self.one, log="goods/0", index=index)
            for index in range(first, min(first + limit, self.size))
        ]

    async def find(
        self, tags: Sequence[bytes], _sizes: Mapping[str, int], limit: int
    ) -> dict[bytes, list[SealedRecord]]:
        return {each: self._records(0, limit) for each in tags}

    async def find_from(
        self, _log: str, _tags: Sequence[bytes], first: int, _size: int, limit: int
    ) -> list[SealedRecord]:
        return self._records(first, limit)

    async def find_newest(
        self, _tag: bytes, _sizes: Mapping[str, int], limit: int, _before: Position | None = None
    ) -> list[SealedRecord]:
        return self._records(0, limit)


async def untold(size: int, most_untold_s: float = math.inf) -> tuple[Untold, VisibleLogs, bytes]:
    world = await asyncio.to_thread(World, PRIVATE)
    named = tag(SECRET, TagKind.KEY, canonical_key(place(SHOP)))
    every = [each for records in world.logs.records_of.values() for each in records]
    source = Untold(next(each for each in every if named in each.tags), size)
    eyes = await world.sight.eyes(Principal())
    return source, VisibleLogs(source, eyes, SECRET, 100, most_untold_s), named  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1_000, 3_000])
async def test_what_is_held_does_not_grow_with_what_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    source, logs, named = await untold(size)
    more = VisibleLogs._more
    kept: list[int] = []

    async def looked(self: VisibleLogs, *arguments: Any) -> Any:
        found = await more(self, *arguments)
        kept.append(len(arguments[-1]))
        return found

    monkeypatch.setattr(VisibleLogs, "_more", looked)
    assert await logs.find([named], {"goods/0": size}, 10) == {named: []}
    assert source.reads > size // READ
    assert kept == [10]
    assert (logs.is_cut, logs.told, len(logs.withheld)) == (False, 0, 0)


async def test_a_stream_reads_what_may_not_be_told_for_a_while_only_and_says_that_it_is_cut() -> None:
    source, logs, named = await untold(10**9, most_untold_s=0.05)
    assert await logs.find([named], {"goods/0": 10**9}, 10) == {named: []}
    assert logs.is_cut
    reads = source.reads
    assert await logs.find_newest(named, {"goods/0": 10**9}, 10) == []
    assert source.reads == reads
