"""The client against services that hide events from it: it is caught every time, however it is done."""

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from goodstrace import entry as entries
from goodstrace.client import Client
from goodstrace.entry import TagKind, tag
from goodstrace.errors import LeftOutError, ProofError, VerificationError
from goodstrace.log.v1 import log_pb2
from goodstrace.query.v1 import completeness_pb2, trace_pb2
from goodstrace.retrace import ShownEvent
from goodstrace.shared_proofs import give_own_proofs
from goodstrace.tracing.wire import ABRIDGED
from goodstrace.verification import VerifiedEntry
from services.query.completeness import CompletenessServicer
from services.runtime.grpc import Context
from tests.unit.collector_builders import SECRET
from tests.unit.completeness_world import CompleteWorld, client, world

__all__ = ["client", "world"]  # the fixtures


def test_hiding_one_event_is_caught_every_time(
    client: Client, world: CompleteWorld, tell: Callable[[str], None]
) -> None:
    item = world.known.item
    assert item is not None
    random_ = random.Random(1)
    caught = 0
    for direction in ("both", "upstream", "history"):
        places = world.places_of(client.trace(item, direction=direction).events)
        for place in places if len(places) < 40 else random_.sample(places, 40):
            world.reader.hidden = {place}
            world.reader.refused = {place} if random_.random() < 0.3 else set()
            with pytest.raises(LeftOutError if not world.reader.refused else VerificationError):
                client.trace(item, direction=direction)
            caught += 1
        world.reader.hidden.clear()
        world.reader.refused.clear()
    assert caught > 40
    tell(f"hidings of one event caught: {caught} of {caught}")


def test_hiding_all_events_of_a_key_is_caught(client: Client, world: CompleteWorld) -> None:
    item = world.known.item
    assert item is not None
    world.reader.hidden = {
        (r.log, r.index) for log in ("goods/0", "goods/1") for r in world.reader.sealed[log]
    }
    with pytest.raises(LeftOutError):
        client.trace(item)
    world.reader.hidden.clear()


def _bare(place: VerifiedEntry) -> log_pb2.SealedEntry:
    return log_pb2.SealedEntry(
        log=place.log,
        index=place.index,
        entry=entries.encode(place.entry),
        inclusion_proof=place.inclusion_proof,
    )


def _alter_events(
    client: Client, monkeypatch: pytest.MonkeyPatch, alter: Callable[[trace_pb2.TraceEvent], None]
) -> None:
    """Have the pages of traces altered by `alter`, event by event, with proofs of their own."""
    pages = partial(Client._pages, client)

    def altered(request: Any, method: Any) -> Iterator[Any]:
        for page in pages(request, method):
            sealed = [entry for event in page.events for entry in (event.sealed, *event.also_at)]
            give_own_proofs(sealed, page.shared_proofs, page.checkpoints)
            del page.shared_proofs[:]
            for event in page.events:
                alter(event)
            yield page

    monkeypatch.setattr(client, "_pages", altered)


def _pairs(shown: Sequence[ShownEvent]) -> Iterator[tuple[VerifiedEntry, VerifiedEntry]]:
    """Two events of one merchant, either of which may be hidden behind the other."""
    for hidden in shown:
        for other in shown:
            places = hidden.event.position, other.event.position
            if hidden is not other and places[0].entry.merchant == places[1].entry.merchant:
                yield places


@pytest.mark.parametrize("marks", [(), (ABRIDGED,)])
def test_hiding_an_event_as_another_place_of_one_that_is_shown_is_caught(
    client: Client, world: CompleteWorld, monkeypatch: pytest.MonkeyPatch, marks: tuple[str, ...]
) -> None:
    item = world.known.item
    assert item is not None
    pairs = list(_pairs(client.trace(item, direction="history").events))
    assert len(pairs) > 10
    for hidden, other in pairs[:: len(pairs) // 10]:
        world.reader.hidden = {(hidden.log, hidden.index)}

        def call_it_the_other(
            event: trace_pb2.TraceEvent, hidden: VerifiedEntry = hidden, other: VerifiedEntry = other
        ) -> None:
            if (event.sealed.log, event.sealed.index) == (other.log, other.index):
                event.also_at.append(_bare(hidden))
                event.marks.extend(marks)

        _alter_events(client, monkeypatch, call_it_the_other)
        with pytest.raises(LeftOutError):
            client.trace(item, direction="history", complete=True)
        assert not client.trace(item, direction="history", complete=False).tree_verified


def test_hiding_an_event_behind_its_own_identity_at_another_place_is_caught(
    client: Client, world: CompleteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The identity of an event without facts is the service's word: it does not show that the event is in the answer.
    item = world.known.item
    assert item is not None
    first, second = client.trace(item, direction="history").events[:2]
    stands = second.event.position  # that of any other event

    def stand_elsewhere(event: trace_pb2.TraceEvent) -> None:
        if event.identity == first.event.identity:
            event.sealed.CopyFrom(_bare(stands))

    def count(page: Any) -> Any:
        page.withheld += 1
        return page

    _alter_events(client, monkeypatch, stand_elsewhere)
    altered = client._pages
    monkeypatch.setattr(client, "_pages", lambda *asked: map(count, altered(*asked)))
    with pytest.raises(LeftOutError, match="leaves out"):
        client.trace(item, direction="history", complete=True)


def test_places_that_an_abridged_answer_shows_bare_are_asked_for_and_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = CompleteWorld(twice=True)
    item = world.known.item
    assert item is not None
    with world.served(tmp_path) as client:
        assert client.trace(item, complete=True).tree_verified

        def abridge(event: trace_pb2.TraceEvent) -> None:
            for each in event.also_at:
                del each.parts[:]
            if event.also_at:
                event.marks.append(ABRIDGED)

        _alter_events(client, monkeypatch, abridge)
        answer = client.trace(item, complete=True)
        assert any(each.event.also_at for each in answer.events)
        assert answer.complete is not None
        assert not answer.tree_verified
        assert "GetRecords" in [look.method for look in world.recorder.looks]


def test_what_is_left_out_is_asked_for_once_more(
    client: Client, world: CompleteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where a merchant changes who sees its events between the answer and its proof.
    item = world.known.item
    assert item is not None
    whole = client.trace(item)
    asked = 0
    pages = client._pages

    def hiding_at_first(request: Any, method: Any) -> Any:
        nonlocal asked
        asked += 1
        world.reader.hidden = set(world.places_of(whole.events)[:1]) if asked == 1 else set()
        return pages(request, method)

    monkeypatch.setattr(client, "_pages", hiding_at_first)
    again = client.trace(item)
    assert asked == 2
    assert world.places_of(again.events) == world.places_of(whole.events)
    assert again.complete is not None


def test_a_service_without_a_log_is_caught(client: Client, world: CompleteWorld) -> None:
    world.reader.without_log = "goods/1"
    try:
        with pytest.raises(LeftOutError, match="without the log goods/1"):
            client.trace("urn:nobody:knows")
    finally:
        world.reader.without_log = ""


class Hiding(CompletenessServicer):
    """A service that takes rows out of its proofs, or pages, or pieces."""

    row = b""
    how = 0

    async def ProveComplete(  # noqa: N802 - the name in the proto
        self, request: completeness_pb2.ProveCompleteRequest, context: Context
    ) -> completeness_pb2.ProveCompleteResponse:
        answer = await super().ProveComplete(request, context)
        for proof in answer.proofs:
            for number, piece in enumerate(proof.pieces):
                if self.row in piece.pages:
                    if self.how == 0:
                        piece.pages = piece.pages.replace(self.row, b"")
                    elif self.how == 1:
                        del proof.pieces[number]
                    else:
                        piece.pages = piece.pages.replace(self.row, self.row[:-1] + bytes([self.row[-1] ^ 1]))
                    return answer
        return answer


def _hiding(world: CompleteWorld) -> Hiding:
    made = world.servicers()[1]
    made.__class__ = Hiding
    assert isinstance(made, Hiding)
    return made


@pytest.mark.parametrize("how", [0, 1, 2])
def test_hiding_it_from_the_proofs_too_is_caught(world: CompleteWorld, tmp_path: Path, how: int) -> None:
    item = world.known.item
    assert item is not None
    wanted = tag(SECRET, TagKind.KEY, item)
    hiding = _hiding(world)
    hiding.how = how
    with world.served(tmp_path, hiding) as client:
        for log in ("goods/0", "goods/1"):
            for record in world.reader.sealed[log]:
                if wanted in record.tags:
                    world.reader.hidden = world.reader.refused = {(log, record.index)}
                    hiding.row = wanted + (log[-1:] == "1").to_bytes(2) + record.index.to_bytes(6)
                    with pytest.raises(VerificationError) as raised:
                        client.trace(item)
                    assert isinstance(raised.value, ProofError) or "proof" in str(raised.value)
    world.reader.hidden, world.reader.refused = set(), set()
