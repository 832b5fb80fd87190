"""Events, their sealed records, and the query service's EPCIS interface over logs in memory."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import structlog
from fastapi import FastAPI
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from goodstrace import entry as entries
from goodstrace.facts import Facts
from services.query.epcis_api import EpcisApi
from services.query.epcis_service import EpcisQueries
from services.query.http_app import make_app
from services.query.log_endpoints import LogEndpoints
from services.query.metrics import QueryMetrics
from services.query.sight import Sight
from services.runtime import envelope
from services.runtime.acknowledged import Outgoing
from services.runtime.envelope import Record
from services.runtime.errors import UnavailableError
from services.runtime.page_tokens import TokenKey, fixed_key
from services.sealing.browse import BrowseRecorder
from services.sealing.values import SealedRecord, StoredCheckpoint
from tests.open_guard import open_guard
from tests.opened_browses import MemoryPeople
from tests.unit.collector_builders import (
    SECRET,
    document,
    processed_document,
)

SERIALS = tuple(f"urn:epc:id:sgtin:9521234.054321.{number}" for number in range(4))
LINKS = tuple(f"https://id.gs1.org/01/09521234543213/21/{number}" for number in range(4))
"""The same things as SERIALS, as Digital Links."""
LOTS = tuple(f"urn:epc:class:lgtin:9521234.054321.L{number}" for number in range(2))
PALLETS = tuple(f"urn:epc:id:sscc:9521234.000000000{number}" for number in range(2))
PLACES = tuple(f"urn:epc:id:sgln:9521234.0000{number}.0" for number in range(3))
ORDERS = ("urn:epcglobal:cbv:bt:9521234000001:1", "urn:epcglobal:cbv:bt:9521234000001:2")
STEPS = ("shipping", "receiving", "https://example.com/steps/polishing")
TIMES = tuple(f"2026-01-0{day}T00:00:00Z" for day in range(1, 6))


def _some(pool: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(pool), unique=True, max_size=2)


def _quantities() -> st.SearchStrategy[list[dict[str, Any]]]:
    return _some(LOTS).map(lambda lots: [{"epcClass": lot, "quantity": 2} for lot in lots])


def _place() -> st.SearchStrategy[dict[str, str]]:
    return st.sampled_from(PLACES).map(lambda place: {"id": place})


_TRANSACTIONS = st.lists(
    st.fixed_dictionaries(
        {"bizTransaction": st.sampled_from(ORDERS)}, optional={"type": st.sampled_from(("po", "inv"))}
    ),
    min_size=1,
    max_size=2,
)
_COMMON = {
    "bizStep": st.sampled_from(STEPS),
    "disposition": st.sampled_from(("in_transit", "active")),
    "readPoint": _place(),
    "bizLocation": _place(),
    "bizTransactionList": _TRANSACTIONS,
    "sourceList": st.just([{"type": "location", "source": PLACES[0]}]),
    "errorDeclaration": st.just(
        {"declarationTime": TIMES[3], "reason": "incorrect_data", "correctiveEventIDs": ["urn:uuid:other"]}
    ),
}
_LISTS: Mapping[str, Mapping[str, st.SearchStrategy[Any]]] = {
    "ObjectEvent": {"epcList": _some(SERIALS + LINKS), "quantityList": _quantities()},
    "AggregationEvent": {"childEPCs": _some(SERIALS + LINKS), "childQuantityList": _quantities()},
    "TransformationEvent": {
        "inputEPCList": _some(SERIALS + LINKS),
        "outputEPCList": _some(SERIALS),
        "inputQuantityList": _quantities(),
        "outputQuantityList": _quantities(),
        "transformationID": st.sampled_from(("urn:t:1", "urn:t:2")),
    },
}


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """A valid event of few names, so that queries meet it often."""
    kind = draw(st.sampled_from(tuple(_LISTS)))
    event: dict[str, Any] = {
        "type": kind,
        "eventID": f"urn:uuid:{draw(st.integers(0, 6)):032x}",
        "eventTime": draw(st.sampled_from(TIMES)),
        "eventTimeZoneOffset": "+00:00",
    }
    if kind != "TransformationEvent":
        event["action"] = draw(st.sampled_from(("ADD", "OBSERVE", "DELETE")))
    if kind == "AggregationEvent":
        event["parentID"] = draw(st.sampled_from(PALLETS))
    lists = draw(st.fixed_dictionaries({}, optional=dict(_LISTS[kind])))
    event |= {name: value for name, value in lists.items() if value}
    event |= draw(st.fixed_dictionaries({}, optional=_COMMON))
    if kind == "TransformationEvent" and not any(name.startswith("input") for name in event):
        event["inputEPCList"] = [SERIALS[0]]
    if kind == "TransformationEvent" and not any(name.startswith("output") for name in event):
        event["outputEPCList"] = [SERIALS[1]]
    if kind == "ObjectEvent" and not {"epcList", "quantityList"} & event.keys():
        event["epcList"] = [SERIALS[2]]
    if kind == "AggregationEvent" and not {"childEPCs", "childQuantityList"} & event.keys():
        event["childEPCs"] = [SERIALS[3]]
    return event


def sealed(listed: Sequence[dict[str, Any]], **head: Any) -> list[Record]:
    """The records that the collector's stages make of events, each captured on its own, so that none is a duplicate."""
    records = []
    for number, event in enumerate(listed, 1):
        [whole] = processed_document(document(event, **head), merchant=number)
        records.append(whole.record)
    return records


def as_collected(event: dict[str, Any]) -> tuple[Facts, Record]:
    """The facts and the record of one event."""
    [item] = processed_document(document(event))
    return item.facts, item.record


class MemoryLogs:
    """The reading side of logs, in memory: records alternate between two of them."""

    def __init__(self, records: Sequence[Record], logs: int = 2) -> None:
        self.records_of: dict[str, list[SealedRecord]] = {f"goods/{number}": [] for number in range(logs)}
        self.away = False
        self.read = 0
        for number, record in enumerate(records):
            log = f"goods/{number % logs}"
            index = len(self.records_of[log])
            self.records_of[log].append(SealedRecord(log, index, record.entry, record.parts, record.tags))

    async def newest(self, prefix: str) -> dict[str, StoredCheckpoint]:
        if self.away:
            raise UnavailableError("the store is away")
        return {log: StoredCheckpoint(log, len(found), b"", "") for log, found in self.records_of.items()}

    async def checkpoint(self, log: str, size: int) -> StoredCheckpoint | None:
        found = self.records_of.get(log, [])
        return StoredCheckpoint(log, size, b"", "") if size <= len(found) else None

    async def find_newest(
        self, tag: bytes, sizes: Mapping[str, int], limit: int, before: tuple[str, int] | None = None
    ) -> list[SealedRecord]:
        bound = (before[1], before[0]) if before else None
        found = [
            each
            for log, size in sizes.items()
            for each in self.records_of[log][:size]
            if tag in each.tags and (bound is None or (each.index, each.log) < bound)
        ]
        return sorted(found, key=lambda each: (each.index, each.log), reverse=True)[:limit]

    async def records(self, log: str, indexes: Sequence[int]) -> list[SealedRecord]:
        self.read += len(indexes)
        return [self.records_of[log][index] for index in indexes]

    async def sealed_ms(self, log: str, index: int) -> int:
        entry = entries.decode(self.records_of[log][index].entry)
        return entry.time + 1_000


class Topic:
    """Takes browse records as Kafka does, or does not."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.people = MemoryPeople()
        self.away = False

    async def send_together(self, records: Sequence[Outgoing], _timeout_s: float) -> None:
        if self.away:
            raise UnavailableError("Kafka is away")
        browsed, told = records
        assert (browsed.topic, told.topic) == ("goods.browsed", "browse.watched")
        self.records.append(self.people.opened(envelope.decode(browsed.value)))


class Service:
    """The query service's HTTP application over logs in memory."""

    def __init__(
        self,
        records: Sequence[Record],
        *,
        page_bytes: int = 1_000_000,
        max_events: int = 10_000,
        sight: Sight | None = None,
        page_key: TokenKey = fixed_key(b"p" * 32),  # noqa: B008 - it is a constant
    ) -> None:
        self.logs, self.topic = MemoryLogs(records), Topic()
        metrics, log = QueryMetrics(CollectorRegistry()), structlog.get_logger()
        recorder = BrowseRecorder(
            self.topic,  # type: ignore[arg-type]
            self.topic.people,
            topic="goods.browsed",
            watched="browse.watched",
            partitions=2,
            secret=SECRET,
            timeout_s=1,
            observe_seconds=metrics.acknowledged.observe,
        )
        reader: Any = self.logs
        queries = EpcisQueries(
            reader,
            recorder,
            sight=sight or Sight(None),
            secret=SECRET,
            page_key=page_key,
            max_events=max_events,
            page_bytes=page_bytes,
            max_walks=2,
            metrics=metrics,
            log=log,
        )
        api = EpcisApi(queries, public_url="http://public.test", max_call_s=20, metrics=metrics, log=log)
        endpoints = LogEndpoints(reader, reader, public_url="", timeout_s=1, metrics=metrics, log=log)
        self.app: FastAPI = make_app(endpoints, open_guard(), api)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://query.test")


async def pages(client: httpx.AsyncClient, url: str, **headers: str) -> list[httpx.Response]:
    """Follow the Link headers from a page to the last one."""
    answers = [await client.get(url, headers=headers)]
    while link := answers[-1].headers.get("Link"):
        assert answers[-1].status_code == 200
        assert link.endswith('>; rel="next"')
        assert len(answers) < 2000
        target = link[1 : link.index(">")].removeprefix("http://public.test")
        answers.append(await client.get(target, headers=headers))
    return answers


def shown(answers: Sequence[httpx.Response]) -> list[dict[str, Any]]:
    """The events of all pages."""
    listed = []
    for answer in answers:
        assert answer.status_code == 200, answer.text
        listed += answer.json()["epcisBody"]["queryResults"]["resultsBody"]["eventList"]
    return listed
