"""Every caller is shown what the policies say and nothing else, and every answer verifies: the calls in memory, and the client."""

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.entry import TagKind, tag
from goodstrace.errors import AnswerError, VerificationError
from goodstrace.goods.standing import carriers
from goodstrace.identifiers import canonical_key
from goodstrace.query.v1 import goods_pb2, trace_pb2
from goodstrace.retrace import ShownEvent
from goodstrace.simulate import SimulationOptions, simulate
from goodstrace.tracing.names import TAG_KINDS
from goodstrace.visibility import Visibility, VisibilityPolicy
from goodstrace.withheld import verify_found_by
from services.runtime.access.values import Principal
from services.runtime.call_errors import InvalidRequestError
from services.runtime.envelope import Part
from services.runtime.errors import UnavailableError
from services.runtime.merchants.errors import ForbiddenError, UnauthenticatedError
from tests.unit.collector_builders import SECRET
from tests.unit.visible_world import (
    AGENT,
    CARRIER,
    CASE,
    EVENTS,
    ITEM,
    MAKER,
    PLATFORM,
    SHOP,
    STEPS,
    STRANGER,
    World,
    party,
    place,
)

VIEWERS = (0, MAKER, CARRIER, SHOP, STRANGER, AGENT, PLATFORM)
PARTNERS: dict[int, set[int]] = {
    1: {MAKER},
    2: {MAKER},
    3: {MAKER, CARRIER},
    4: {CARRIER},
    5: {CARRIER, MAKER, SHOP, AGENT},
    6: {SHOP},
    7: {SHOP},
}
"""By event who it names or who captured it; the platform speaks for all."""
POLICIES: dict[str, dict[int, VisibilityPolicy]] = {
    "all public": {each: VisibilityPolicy(Visibility.PUBLIC) for each in (MAKER, CARRIER, SHOP)},
    "all partners": {},
    "all private": {each: VisibilityPolicy(Visibility.PRIVATE) for each in (MAKER, CARRIER, SHOP)},
    "the maker shows what it ships": {
        MAKER: VisibilityPolicy(Visibility.PRIVATE, {"logistics": Visibility.PUBLIC}),
        SHOP: VisibilityPolicy(Visibility.PUBLIC, {"sale": Visibility.PARTNERS}),
    },
    "the carrier hides": {
        MAKER: VisibilityPolicy(Visibility.PUBLIC),
        CARRIER: VisibilityPolicy(Visibility.PRIVATE),
        SHOP: VisibilityPolicy(Visibility.PUBLIC, {"sale": Visibility.PRIVATE}),
    },
}


def may_see(viewer: int, policies: dict[int, VisibilityPolicy], number: int) -> bool:
    merchant = EVENTS[number - 1][0]
    policy = policies.get(merchant)
    circle = policy.steps.get(STEPS[number - 1], policy.default) if policy else Visibility.PARTNERS
    if circle is Visibility.PUBLIC or viewer == merchant:
        return True
    return circle is Visibility.PARTNERS and (viewer == PLATFORM or viewer in PARTNERS[number])


def numbers(world: World, events: tuple[ShownEvent, ...]) -> set[int]:
    return {world.number_at(each.event.position.log, each.event.position.index) for each in events}


def assert_nothing_leaks(world: World, hidden: set[int]) -> None:
    sent = b"".join(each.SerializeToString() for each in world.answers)
    for number in hidden:
        for secret in world.secrets_of(number):
            assert secret not in sent, (number, secret[:60])


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("viewer", VIEWERS)
def test_a_trace_shows_what_the_model_says_and_proves_that_the_rest_is_sealed(name: str, viewer: int) -> None:
    world = World(POLICIES[name])
    answer = world.client(viewer).trace(ITEM)
    visible = {each for each in range(1, 8) if may_see(viewer, POLICIES[name], each)}
    shown = numbers(world, answer.events)
    withheld = {world.number_at(*each.place) for each in answer.withheld_entries}
    assert shown <= visible
    assert withheld.isdisjoint(visible)
    assert answer.tree_verified
    assert answer.total_withheld == len(answer.withheld_entries)
    # What names the item itself is always met; what names the case, where an event that may be seen leads there.
    assert shown & {1, 2, 6, 7} == visible & {1, 2, 6, 7}
    assert withheld & {1, 2, 6, 7} == {1, 2, 6, 7} - visible
    if 2 in visible:
        assert shown | withheld == set(range(1, 8))
    for each in answer.withheld_entries:
        merchant = EVENTS[world.number_at(*each.place) - 1][0]
        assert each.entry.entry.merchant == merchant
        assert each.tag == tag(SECRET, TAG_KINDS[each.kind], each.name)
    assert_nothing_leaks(world, set(range(1, 8)) - visible)
    assert [each.merchant for each in world.browses] == [viewer]
    assert world.browses[0].events == len(shown)


@pytest.mark.parametrize("viewer", VIEWERS)
@pytest.mark.parametrize("page_size", [1, 2])
def test_pages_together_are_the_answer(viewer: int, page_size: int) -> None:
    policies = POLICIES["the maker shows what it ships"]
    whole = World(policies).client(viewer).trace(ITEM)
    for page_bytes in (10**6, 3_000):
        world = World(policies, page_bytes=page_bytes)
        paged = world.client(viewer).trace(ITEM, page_size=page_size)
        assert (paged.nodes, paged.total_withheld, paged.tree_verified) == (
            whole.nodes,
            whole.total_withheld,
            True,
        )
        assert [each.event.identity for each in paged.events] == [
            each.event.identity for each in whole.events
        ]
        assert [each.place for each in paged.withheld_entries] == [
            each.place for each in whole.withheld_entries
        ]
        assert all(len(each.events) + len(each.withheld_entries) <= page_size for each in world.answers)
        assert len(world.browses) == len(world.answers) > 1


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("viewer", VIEWERS)
def test_an_event_by_its_id_and_the_state_of_goods_obey_too(name: str, viewer: int) -> None:
    world = World(POLICIES[name])
    client = world.client(viewer)
    hidden = {each for each in range(1, 8) if not may_see(viewer, POLICIES[name], each)}
    goods = client.goods(ITEM)
    assert {world.number_at(*each.place) for each in goods.withheld} >= hidden & {1, 2, 6, 7}
    assert {
        world.number_at(each.position.log, each.position.index) for each in goods.events.values()
    }.isdisjoint(hidden)
    assert carriers(canonical_key(ITEM), goods.states) == list(goods.carriers)
    for number in range(1, 8):
        world.answers.clear()
        found = client.event(EVENTS[number - 1][1]["eventID"])
        assert numbers(world, found) == ({number} - hidden)
        assert [len(each.withheld_entries) for each in world.answers] == [int(number in hidden)]
        # The caller's own word comes back as the name by which it was found; the content does not.
        sent = world.answers[0].SerializeToString()
        secrets = [each for each in world.secrets_of(number) if not each.endswith(b"%012d" % number)]
        assert number not in hidden or not any(secret in sent for secret in secrets)


def test_of_what_names_a_merchant_only_by_its_goods_nothing_is_shown() -> None:
    """The maker numbered the item and the case: what the shop does with them is the shop's."""
    world = World({})
    answer = world.client(MAKER).trace(ITEM)
    assert numbers(world, answer.events) == {1, 2, 3, 5}


def test_a_policy_that_changes_counts_within_seconds_and_never_between_two_pages() -> None:
    world = World({})
    request = trace_pb2.TraceRequest(key=ITEM, page_size=1)
    first = world.call("Trace", request, world.shown_with(STRANGER))
    assert first.next_page_token
    world.register(MAKER, prefixes=("9521231",), visibility=VisibilityPolicy(Visibility.PUBLIC))
    request.page_token = first.next_page_token
    world.call("Trace", request, world.shown_with(STRANGER))
    world.now_s += 2.1
    with pytest.raises(InvalidRequestError, match="page_token"):
        world.call("Trace", request, world.shown_with(STRANGER))
    assert numbers(world, world.client(STRANGER).trace(ITEM).events) == {1, 2, 3}


def test_a_page_token_is_for_who_got_it() -> None:
    world = World({})
    request = trace_pb2.TraceRequest(key=ITEM, page_size=1)
    request.page_token = world.call("Trace", request, world.shown_with(MAKER)).next_page_token
    assert request.page_token
    with pytest.raises(InvalidRequestError, match="page_token"):
        world.call("Trace", request)


@pytest.mark.parametrize(
    "credential", ["Bearer gst_0123456789abcdef_" + "A" * 43, "Bearer nonsense", "Basic abc", "Bearer "]
)
@pytest.mark.parametrize(
    ("method", "request_of"),
    [
        ("Trace", lambda: trace_pb2.TraceRequest(key=ITEM)),
        ("GetEvent", lambda: trace_pb2.GetEventRequest(event_id="urn:a")),
        ("GetGoods", lambda: goods_pb2.GetGoodsRequest(key=ITEM)),
    ],
)
def test_a_key_that_does_not_count_is_refused(method: str, request_of: Any, credential: str) -> None:
    world = World({each: VisibilityPolicy(Visibility.PUBLIC) for each in (MAKER, CARRIER, SHOP)})
    with pytest.raises(UnauthenticatedError):
        world.call(method, request_of(), (("authorization", credential),))
    assert not world.browses


def test_a_key_that_was_revoked_and_a_merchant_that_is_suspended_see_nothing() -> None:
    world = World({})
    assert world.client(MAKER).trace(ITEM).events
    world.suspend(MAKER)
    world.now_s += 2.1
    with pytest.raises(ForbiddenError):
        world.client(MAKER).trace(ITEM)
    world.registry.rows.pop(world.key_ids[SHOP])
    with pytest.raises(UnauthenticatedError):
        world.client(SHOP).trace(ITEM)


@pytest.mark.parametrize("viewer", [0, MAKER])
def test_where_who_may_see_what_cannot_be_told_nothing_is_shown(viewer: int) -> None:
    world = World(POLICIES["all public"])
    world.client(viewer).trace(ITEM)
    world.registry.away = True
    world.now_s += 2.1
    with pytest.raises(UnavailableError):
        world.client(viewer).trace(ITEM)
    assert len(world.browses) == 1


def test_where_a_limit_is_met_among_what_is_withheld_the_answer_says_so() -> None:
    world = World({}, max_events=3, copies=4)
    answer = world.client(STRANGER).trace(ITEM)
    assert answer.truncated
    assert not answer.events
    assert 3 < answer.total_withheld <= 28


@pytest.mark.parametrize("viewer", [0, STRANGER, MAKER])
def test_that_something_is_withheld_is_told_by_its_goods_and_never_by_its_places_and_parties(
    viewer: int,
) -> None:
    """Else the entries of a place and those of some goods could be joined: what went where would be known."""
    world = World({each: VisibilityPolicy(Visibility.PRIVATE) for each in (MAKER, CARRIER, SHOP)})
    client = world.client(viewer)
    for key in (place(CARRIER), place(SHOP), party(MAKER), party(CARRIER)):
        own = viewer == MAKER and key == party(CARRIER)  # the maker's own event names the carrier
        assert len(client.trace(key).events) == own
        assert client.trace(key).total_withheld == 0
        assert client.goods(key).withheld == ()
    assert client.trace(CASE).total_withheld > 0


def _alter(change: Any) -> Any:
    world = World({})
    client = world.client(STRANGER)
    call = world.call

    def altered(name: str, request: Any, metadata: Any = ()) -> Any:
        answer = call(name, request, metadata)
        change(answer)
        return answer

    world.call = altered  # type: ignore[method-assign]
    return client


def _drop(answer: Any) -> None:
    del answer.withheld_entries[0]


def _count(answer: Any) -> None:
    answer.total_withheld -= 1


def _twice(answer: Any) -> None:
    answer.withheld_entries.append(answer.withheld_entries[-1])
    answer.total_withheld += 1


def _tag(answer: Any) -> None:
    answer.withheld_entries[0].found_by.tag = tag(SECRET, TagKind.KEY, "urn:else")


def _path(answer: Any) -> None:
    answer.withheld_entries[0].found_by.path.append(bytes(32))


def _index(answer: Any) -> None:
    answer.withheld_entries[0].found_by.index += 1


def _name(answer: Any) -> None:
    answer.withheld_entries[0].found_by.name = "urn:else"


def _kind(answer: Any) -> None:
    answer.withheld_entries[0].found_by.kind = "browse"


def _entry(answer: Any) -> None:
    answer.withheld_entries[0].sealed.CopyFrom(answer.withheld_entries[1].sealed)


def _part(answer: Any) -> None:
    answer.withheld_entries[0].sealed.parts.add(name="event", salt=bytes(32), content=b"{}")


@pytest.mark.parametrize("change", [_drop, _count, _twice, _tag, _path, _index, _name, _kind, _entry, _part])
def test_what_was_changed_on_the_way_is_refused(change: Any) -> None:
    assert _alter(lambda _: None).trace(ITEM).total_withheld == 4
    with pytest.raises(VerificationError):
        _alter(change).trace(ITEM)


def test_who_has_the_index_secret_sees_that_the_tag_is_the_names() -> None:
    world = World({})
    answer = world.client(STRANGER).trace(ITEM)
    [message, *_] = [each for page in world.answers for each in page.withheld_entries]
    checked = verify_found_by(message.sealed, message.found_by, answer.checkpoints, SECRET)
    assert checked.tag_checked
    assert not answer.withheld_entries[0].tag_checked
    with pytest.raises(AnswerError, match="not that of"):
        verify_found_by(message.sealed, message.found_by, answer.checkpoints, b"x" * 32)


def test_a_record_that_an_answer_shows_is_not_withheld_too() -> None:
    world = World({})
    answer = world.client(MAKER).trace(ITEM)
    places = {(each.event.position.log, each.event.position.index) for each in answer.events}
    assert places.isdisjoint(each.place for each in answer.withheld_entries)


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
    page_size=st.sampled_from((0, 3)),
)
def test_every_answer_about_any_chain_verifies_whatever_is_withheld(
    seed: int, policies: dict[int, VisibilityPolicy], viewer: int, page_size: int
) -> None:
    """The tree, and the names by which something withheld was found, follow for the client as they do for the service."""
    options = SimulationOptions(seed=seed, events=60, corrections=0.1, returns=0.2, recalls=0.5, depth=2)
    events = [each for body in simulate(options) for each in body.content["epcisBody"]["eventList"]]
    random = Random(seed)
    world = World(policies, events=[(random.choice((MAKER, CARRIER, SHOP)), each) for each in events])
    client = world.client(viewer)
    keys = sorted({key for each in events for key in (*each.get("epcList", ()), *each.get("childEPCs", ()))})
    for key in random.sample(keys, min(4, len(keys))):
        answer = client.trace(key, page_size=page_size)
        assert answer.tree_verified
        client.goods(key)
    sent = b"".join(each.SerializeToString() for each in world.answers)
    shown = {part.content for part in _shown_parts(world, viewer)}
    for record in world.records:
        for part in record.parts:
            assert part.content in shown or part.content not in sent
            assert part.content in shown or part.salt not in sent


def _shown_parts(world: World, viewer: int) -> Iterator[Part]:
    """The parts of all records that a viewer may see, by the rule itself."""
    eyes = asyncio.run(world.sight.eyes(Principal(merchant=viewer)))
    for records in world.logs.records_of.values():
        hidden = asyncio.run(eyes.hidden(records))
        yield from (part for each in records if (each.log, each.index) not in hidden for part in each.parts)
