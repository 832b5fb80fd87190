"""Chain after chain until the number of events is reached, cut into the documents that each party captures."""

from __future__ import annotations

import calendar
import dataclasses
import json
import pathlib
import random
from collections.abc import Callable, Iterator

from goodstrace.simulate import distribution, production, retail
from goodstrace.simulate.identifiers import Key
from goodstrace.simulate.options import SimulationOptions
from goodstrace.simulate.recorder import Captured, Event, Recorder
from goodstrace.simulate.world import Branch, Numbers, Party, make_branches

CONTEXT = "https://ref.gs1.org/standards/epcis/epcis-context.jsonld"
_WINDOW_MIN = 180 * 24 * 60
_CHAIN_STEP_MIN = 47


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """One EPCISDocument (EPCIS 2.0, JSON-LD) as one party captures it.

    Args:
        name: file name, numbered in the order of capture.
        party: canonical key of the party that captures it.
        events: how many events it holds, at least 1.
        content: the document, a JSON object.
    """

    name: str
    party: str
    events: int
    content: dict[str, object]

    def to_bytes(self) -> bytes:
        """Encode as UTF-8 JSON with a line feed at the end; the same content gives the same bytes."""
        return json.dumps(self.content, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


@dataclasses.dataclass(frozen=True, slots=True)
class Interesting:
    """Canonical keys worth a look; None or empty where too few events were made to have one.

    Args:
        item: an item sold whose event is among those made. lot: its lot. case, pallet: what carried it first.
        upstream: the inputs of each transformation behind the item, nearest level first, raw lots in the last.
        returned: an item that came back. recalled: a lot that was recalled.
        corrected: ID of an event that stands for one declared in error.
        parties: role, name and canonical key of every party. products: name and Digital Link of every class.
    """

    item: str | None = None
    lot: str | None = None
    case: str | None = None
    pallet: str | None = None
    upstream: tuple[tuple[str, ...], ...] = ()
    returned: str | None = None
    recalled: str | None = None
    corrected: str | None = None
    parties: tuple[dict[str, str], ...] = ()
    products: tuple[dict[str, str], ...] = ()

    def to_bytes(self) -> bytes:
        """Encode as indented UTF-8 JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False).encode() + b"\n"


class Simulation:
    """One run over the chains of `options`. Memory: one chain, and one unfinished document for each party."""

    def __init__(self, options: SimulationOptions) -> None:
        self._options = options
        self._rng = random.Random(options.seed)  # noqa: S311 - made-up goods, no secrets; must be repeatable
        self._numbers = Numbers(self._rng)
        self._branches = make_branches(self._rng)
        self._found = Interesting(parties=_parties(self._branches), products=_products(self._branches))
        self._documents = 0
        most = options.events // options.events_per_document + sum(1 for _ in self._found.parties)
        self._width = max(4, len(str(most)))

    def interesting(self) -> Interesting:
        """Tell keys to trace among the events made so far; whole once `documents` is exhausted."""
        return self._found

    def documents(self) -> Iterator[Document]:
        """Make the documents, `options.events` events in all. To be called once.

        Within a document events ascend by time. A party's events come in the order of its documents only roughly,
        as chains overlap in time.
        """
        waiting: dict[int, list[Captured]] = {}
        left = self._options.events
        chain = 0
        while left:
            for captured in self._chain(chain, left):
                batch = waiting.setdefault(captured.party.number, [])
                batch.append(captured)
                left -= 1
                if len(batch) == self._options.events_per_document:
                    yield self._document(waiting.pop(captured.party.number))
            chain += 1
        for batch in waiting.values():
            yield self._document(batch)

    def _chain(self, chain: int, left: int) -> list[Captured]:
        """Record one chain from harvest to shelf; at most `left` of its events, the earliest."""
        start_min = chain * _CHAIN_STEP_MIN % _WINDOW_MIN
        start_s = calendar.timegm(self._options.start.timetuple()) + start_min * 60
        recorder = Recorder(self._rng, self._numbers, self._options, start_s)
        branch = self._branches[chain % len(self._branches)]
        found, sold_by = record_chain(recorder, branch, plain=chain == 0)
        if len(recorder.captured) > left:
            found = dataclasses.replace(found, returned=None, recalled=None, corrected=None)
        if sold_by <= left:
            self._note(found)
        return _first(recorder.captured, left)

    def _note(self, found: Interesting) -> None:
        """Keep the first of each interesting thing; what belongs to one item stays together."""
        known = self._found
        if known.item is None:
            of_item = {name: getattr(found, name) for name in ("item", "lot", "case", "pallet", "upstream")}
            known = dataclasses.replace(known, **of_item)
        self._found = dataclasses.replace(
            known,
            returned=known.returned or found.returned,
            recalled=known.recalled or found.recalled,
            corrected=known.corrected or found.corrected,
        )

    def _document(self, batch: list[Captured]) -> Document:
        batch.sort(key=lambda captured: captured.time_s)
        self._documents += 1
        last = batch[-1]
        events: list[Event] = [captured.event for captured in batch]
        content: dict[str, object] = {
            "@context": [CONTEXT],
            "type": "EPCISDocument",
            "schemaVersion": "2.0",
            "creationDate": last.party.local_time(last.time_s + 900),
            "epcisBody": {"eventList": events},
        }
        name = f"{self._documents:0{self._width}d}-{last.party.spec.role}.jsonld"
        return Document(name, last.party.identity.link, len(events), content)


def record_chain(recorder: Recorder, branch: Branch, *, plain: bool) -> tuple[Interesting, int]:
    """Record one supply chain, a pallet's worth of goods, and tell its keys worth a look.

    Also tells how many of its events, from the first, it takes to include the first sale.
    """
    made = production.make_items(recorder, branch, plain=plain)
    pallet, cases = distribution.pack_pallet(recorder, made)
    hub = branch.one("distributor")
    distribution.deliver(recorder, branch, made.maker, hub, [pallet])
    cases = distribution.break_pallet(recorder, hub, pallet, cases)
    stores = branch.parties["store"][: recorder.between(1, len(branch.parties["store"]))]
    sale = retail.Sale()
    shelves: list[tuple[Party, list[Key]]] = []
    for number, store in enumerate(stores):
        share = cases[number :: len(stores)]
        if share:
            distribution.supply_store(recorder, branch, store, share)
            shelves.extend((store, retail.sell_case(recorder, store, case, sale)) for case in share)
    recalled = recorder.chance(recorder.options.recalls)
    if recalled:
        retail.recall(recorder, made.lot, shelves)
    sold = sale.item is not None
    found = Interesting(
        item=sale.item.link if sale.item else None,
        lot=made.lot.key.link if sold else None,
        case=sale.case.link if sale.case else None,
        pallet=pallet.link if sold else None,
        upstream=tuple(tuple(key.link for key in level) for level in made.upstream) if sold else (),
        returned=sale.returned.link if sale.returned else None,
        recalled=made.lot.key.link if recalled else None,
        corrected=recorder.corrected,
    )
    return found, sale.captured


def _first(captured: list[Captured], most: int) -> list[Captured]:
    """Take the first `most` events. A correction that would be cut in two is left out: only what is right stays."""
    if len(captured) <= most:
        return captured
    taken: list[Captured] = []
    place = 0
    while len(taken) < most and place < len(captured):
        corrected = place + 1 < len(captured) and "errorDeclaration" in captured[place + 1].event
        length = 3 if corrected else 1
        taken.extend(
            captured[place : place + length] if length <= most - len(taken) else [captured[place + 2]]
        )
        place += length
    return taken


def _parties(branches: list[Branch]) -> tuple[dict[str, str], ...]:
    return tuple(
        {"role": party.spec.role, "name": party.spec.name, "key": party.identity.link}
        for branch in branches
        for parties in branch.parties.values()
        for party in parties
    )


def _products(branches: list[Branch]) -> tuple[dict[str, str], ...]:
    return tuple(
        {"name": name, "key": gtin.link} for branch in branches for name, gtin in branch.classes.items()
    )


def simulate(options: SimulationOptions) -> Iterator[Document]:
    """Make the documents of a simulation, one at a time. The same options give the same bytes."""
    return Simulation(options).documents()


def write(
    options: SimulationOptions,
    out_dir: pathlib.Path,
    progress: Callable[[int, int], None] | None = None,
) -> Interesting:
    """Write every document of a simulation into `out_dir`, and `index.json` with keys worth a look.

    Args:
        options: what to simulate.
        out_dir: made where absent; files of the same names are replaced, others left alone.
        progress: called after each document with how many events are written and how many there will be.
    Returns: what `index.json` says.
    Raises: OSError.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    simulation = Simulation(options)
    written = 0
    for document in simulation.documents():
        (out_dir / document.name).write_bytes(document.to_bytes())
        written += document.events
        if progress is not None:
            progress(written, options.events)
    found = simulation.interesting()
    (out_dir / "index.json").write_bytes(found.to_bytes())
    return found
