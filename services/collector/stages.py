"""The stages after `collect`, in order, and running any contiguous span of them over a batch. Pure."""

import traceback
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from goodstrace.entry import Kind
from goodstrace.errors import GoodstraceError
from services.collector.books import PROGRAMS, Books
from services.collector.classify import classify
from services.collector.flow import (
    MAX_RECORD_BYTES,
    Accepted,
    Item,
    Outcome,
    Reason,
    StageName,
    from_wire,
    reject,
    settled,
    to_wire,
)
from services.collector.pipeline import CURRENT, VERSIONS, pipeline_of
from services.collector.record import record
from services.collector.self_check import Sort, check
from services.collector.store import store
from services.collector.summarise import Window, held, summarise
from services.runtime import envelope, topics
from services.runtime.envelope import Memory, Record
from services.runtime.errors import ServiceError

__all__ = ["INPUTS", "ORDER", "OUTPUTS", "Span", "SpanOutput", "StageFault", "State", "Watcher"]

_MAX_TOLD: Final = 4000
ORDER: Final = (StageName.SUMMARISE, StageName.RECORD, StageName.CLASSIFY, StageName.STORE)
OUTPUTS: Final = {
    StageName.COLLECT: topics.GOODS_COLLECTED,
    StageName.SUMMARISE: topics.GOODS_SUMMARISED,
    StageName.RECORD: topics.GOODS_RECORDED,
    StageName.CLASSIFY: topics.GOODS_CLASSIFIED,
    StageName.STORE: topics.GOODS_STORED,
}
INPUTS: Final = {
    StageName.SUMMARISE: topics.GOODS_COLLECTED,
    StageName.RECORD: topics.GOODS_SUMMARISED,
    StageName.CLASSIFY: topics.GOODS_RECORDED,
    StageName.STORE: topics.GOODS_CLASSIFIED,
}


class State(msgspec.Struct):
    """What the stages of one partition know besides the record at hand.

    `rerun`: records are taken as if `collect` had stamped today's pipeline version, and the books of today, on them.
    """

    window: Window
    secret: bytes
    rerun: bool = False
    books: Books = PROGRAMS


class Watcher(Protocol):
    """Is told how records come through the stages; it may have a clock, which stages have not."""

    def began(self, record: Record) -> None:
        """The first stage is about to take a record."""

    def passed(self, stage: StageName, outcome: Outcome) -> None:
        """A stage has decided about that record."""


class StageFault(msgspec.Struct, frozen=True):
    """A stage failed over a record. record: its ID, hex. told: the end of the traceback; the exception itself would keep the record."""

    stage: StageName
    record: str
    told: str


class SpanOutput(msgspec.Struct):
    """What a batch of one partition became: for each stage the values for its topic, and the rejections; no item outlives its turn.

    unanswered: IDs of rules, once for each event for which their expression had no answer. verdicts: IDs of rules, once for each event
    for which they hold, of those that came through the whole span; none where `classify` is not in it. faults: of the records over which a
    stage failed, to be told to people. proved: where a stage failed, of which sort of records and as far as which stage samples came through.
    """

    passed: dict[StageName, list[bytes]]
    rejected: list[tuple[StageName, str, bytes]]
    unanswered: list[str] = []
    verdicts: list[str] = []
    faults: list[StageFault] = []
    proved: set[tuple[StageName, Sort]] = set()


class Span:
    """A contiguous run of stages."""

    def __init__(self, first: StageName, last: StageName) -> None:
        """Run from `first` to `last`, both included. Raises: ValueError where there is no such run."""
        start, end = ORDER.index(first), ORDER.index(last)
        if start > end:
            raise ValueError(f"stage {first} comes after {last}")
        self.stages = ORDER[start : end + 1]

    @property
    def first(self) -> StageName:
        """The stage whose input the span reads."""
        return self.stages[0]

    @property
    def last(self) -> StageName:
        """The last stage."""
        return self.stages[-1]

    def check(self, secret: bytes, books: Books) -> None:
        """See that the stages take records of our own, of each pipeline version. Raises: FaultyReleaseError: begin with no others."""
        state = State(Window(), secret, books=books)
        for version in VERSIONS:
            _check(self.last, state, Sort(version, books.step_table, books.rule_sets))

    def run(self, state: State, values: Sequence[bytes], watcher: Watcher | None = None) -> SpanOutput:
        """Take records of one partition, in offset order, through the stages; `watcher` is told of each and changes nothing.

        The same values after the same records before them give the same output, byte by byte.
        Raises: EnvelopeError or EntryError where a value is no record of ours: the caller stops, it never skips. FaultyReleaseError where a
        stage fails over a record, and over samples of our own as well: else every record would be refused.
        """
        output = SpanOutput({stage: [] for stage in self.stages}, [])
        for value in values:
            found = from_wire(value)
            if isinstance(found, Memory):
                self._remember(state, found, value, output)
            else:
                item = self._restamped(state, found) if state.rerun else found
                self._run_one(state, item, output, watcher)
        return output

    def _restamped(self, state: State, item: Item) -> Item:
        """Name today's books too, where they are yet to be gone by; else the facts name those that were."""
        item = restamped(item)
        if StageName.CLASSIFY not in self.stages:
            return item
        return item.with_facts(step_table=state.books.step_table, rule_sets=state.books.rule_sets)

    def _remember(self, state: State, memory: Memory, value: bytes, output: SpanOutput) -> None:
        """Take into the window what the partition must remember. It stays on `goods.summarised`, from where windows are filled."""
        if self.first is StageName.SUMMARISE:
            for each in held(memory):
                state.window.add(*each)
            output.passed[StageName.SUMMARISE].append(value)

    def _run_one(self, state: State, item: Item, output: SpanOutput, watcher: Watcher | None) -> None:
        pipeline_of(item.record.pipeline_version)
        if watcher is not None:
            watcher.began(item.record)
        for stage in self.stages:
            outcome = _taken(stage, state, item, output)
            if watcher is not None:
                watcher.passed(stage, outcome)
            if not isinstance(outcome, Accepted):
                reason = outcome.record.rejection.reason if outcome.record.rejection else ""
                output.rejected.append((stage, reason, envelope.encode(outcome.record)))
                return
            if outcome.unanswered:
                output.unanswered += [each.rule for each in outcome.unanswered]
            item = outcome.item
            output.passed[stage].append(to_wire(item))
        if item.facts.verdicts and StageName.CLASSIFY in self.stages:
            output.verdicts += [each.rule for each in item.facts.verdicts]


def restamped(item: Item) -> Item:
    """Give an item with today's pipeline version in place of its own."""
    if item.record.pipeline_version == CURRENT.version:
        return item
    record = msgspec.structs.replace(item.record, pipeline_version=CURRENT.version)
    facts = msgspec.structs.replace(item.facts, pipeline=CURRENT.version)
    return Item(record, facts, item.event)  # of no wire: its head is another now


def _taken(stage: StageName, state: State, item: Item, output: SpanOutput) -> Outcome:
    """Run one stage over one item; one over which it fails is refused, as it came.

    Else the same record would end the process again at each start, and nothing behind it would ever be sealed. Stages are functions of their
    input, so a replay fails alike. Where the stages fail over samples of our own too, it is no fault of the record: nothing is refused.
    """
    try:
        return _sized(stage, item, step(stage, state, item))
    except (GoodstraceError, ServiceError, MemoryError):  # no record of ours, or no fault of it
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, samples tell whether it is this record's alone
        _prove(stage, state, item, output)
        told = "".join(traceback.format_exception(error))[-_MAX_TOLD:]
        output.faults.append(StageFault(stage, item.record.id.hex(), told))
        detail = f"the stage failed over it ({type(error).__name__}): the collector's log says more"
        return reject(settled(item).record, stage, Reason.FAULT, detail)


def _prove(stage: StageName, state: State, item: Item, output: SpanOutput) -> None:
    """See that the stages take samples of the item's sort up to this one, once for a batch."""
    version, facts = item.record.pipeline_version, item.facts
    sort = Sort(version, facts.step_table, facts.rule_sets) if stage is StageName.CLASSIFY else Sort(version)
    if (stage, sort) not in output.proved:
        _check(stage, state, sort)
        output.proved.add((stage, sort))


def _check(last: StageName, state: State, sort: Sort) -> None:
    """Take samples through all stages up to `last`, whichever span runs: they begin as collected. `state` is not touched."""
    fresh = State(Window(), state.secret, books=state.books)
    check(
        lambda stage, item: _sized(stage, item, step(stage, fresh, item)),
        ORDER[: ORDER.index(last) + 1],
        sort,
    )


def _sized(stage: StageName, came: Item, outcome: Outcome) -> Outcome:
    """Write what a stage passes as it goes onto its topic; refuse what Kafka would not take, as it came to the stage.

    Such a record would be tried again for ever, and no other behind it would ever be sealed.
    """
    if not isinstance(outcome, Accepted):
        return outcome
    item = settled(outcome.item)
    size_bytes = len(to_wire(item))
    if size_bytes <= MAX_RECORD_BYTES:
        return outcome if item is outcome.item else Accepted(item, outcome.unanswered)
    detail = f"with its keys and tags the record has {size_bytes} bytes, over {MAX_RECORD_BYTES}"
    return reject(settled(came).record, stage, Reason.TOO_LARGE, detail)


def step(stage: StageName, state: State, item: Item) -> Outcome:
    """Run one stage over one item. What `record` and `classify` look for, a registration does not have."""
    if stage is StageName.SUMMARISE:
        return summarise(state.window, item)
    if item.record.kind is Kind.REGISTRATION and stage is not StageName.STORE:
        return Accepted(item)
    if stage is StageName.RECORD:
        return record(item)
    if stage is StageName.CLASSIFY:
        return classify(state.books, item)
    return store(state.secret, item)
