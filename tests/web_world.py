"""A cold chain of salmon with registered goods, places and merchants, behind the web pages in memory: for unit tests, browsers and pictures."""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import structlog
import uvicorn
from prometheus_client import CollectorRegistry

from deploy.processes import free_port
from goodstrace.completeness.leaf import IndexedLog, IndexLeaf, RootAt, secret_commitment
from goodstrace.completeness.rows import Row
from goodstrace.cosignature import Cosigner
from goodstrace.facts import RegisteredRange
from goodstrace.identifiers import canonical_key
from goodstrace.note import Signer, parse_note
from goodstrace.registration import merchant_key
from goodstrace.tiles import Tile, TileEdge
from services.collector.flow import Item, StageName, to_wire
from services.collector.registry.registrations import Registration, item_of
from services.ledger.index_records import index_record
from services.query.completeness import CompletenessServicer
from services.query.http_app import make_app
from services.query.index_gate import IndexGate
from services.query.log_endpoints import LogEndpoints
from services.query.metrics import QueryMetrics
from services.query.service import TraceServicer
from services.query.sight import Sight
from services.query.web.complete import CompletePages, Offer
from services.query.web.pages import WebPages
from services.query.web.routes import MorePages
from services.query.web.settings import WebSettings
from services.query.web.signing_in import WebSignIn
from services.runtime import envelope
from services.runtime.access.authenticator import Headers, Known
from services.runtime.access.guard import Guard
from services.runtime.access.networks import networks
from services.runtime.access.values import Means, Principal, Role
from services.runtime.envelope import Record
from services.runtime.merchants.values import What
from services.runtime.page_tokens import fixed_key
from services.sealing.browse import NotRecordedError
from services.sealing.values import LogInfo, SealedRecord, StoredCheckpoint
from tests.unit.collector_builders import (
    SECRET,
    WHOLE,
    collected,
    document,
    fresh_state,
    processed,
    sealed_events,
    seeded,
    wires,
)
from tests.unit.completeness_builders import MemoryRuns
from tests.unit.visible_world import SignedLogs

FARM, WORKS, AIR, HUB, SHOP = 1, 2, 3, 4, 5
PREFIXES = {FARM: "7038010", WORKS: "7038011", AIR: "7038012", HUB: "6901234", SHOP: "6901235"}
FISH = f"urn:epc:class:lgtin:{PREFIXES[FARM]}.000101.F0412"
FEED = f"urn:epc:class:lgtin:{PREFIXES[FARM]}.000800.K3"
SALT = f"urn:epc:class:lgtin:{PREFIXES[WORKS]}.000900.S77"
LOT = f"urn:epc:class:lgtin:{PREFIXES[WORKS]}.000201.L0412"
ITEM = f"urn:epc:id:sgtin:{PREFIXES[WORKS]}.000201.1001"
CASE = f"urn:epc:id:sscc:{PREFIXES[WORKS]}.0000000041"
PALLET = f"urn:epc:id:sscc:{PREFIXES[AIR]}.0000000007"
ITEM_KEY, LOT_KEY, FISH_KEY = map(canonical_key, (ITEM, LOT, FISH))
PRODUCT_KEY = ITEM_KEY.partition("/21/")[0]
ITEM_PATH = ITEM_KEY.removeprefix("https://id.gs1.org")
SHOPPER = Principal(means=Means.TOKEN, account="00", name="ann", roles=frozenset((Role.SHOPPER,)))


def place(number: int) -> str:
    return f"urn:epc:id:sgln:{PREFIXES[number]}.00001.0"


def party(number: int) -> str:
    return f"urn:epc:id:pgln:{PREFIXES[number]}.00000"


def _event(  # noqa: PLR0917
    number: int, when: str, kind: str, step: str, at: int, offset: str, **more: Any
) -> dict[str, Any]:
    return {
        "type": kind,
        "eventID": f"urn:uuid:00000000-0000-4000-8000-{number:012d}",
        "eventTime": when,
        "eventTimeZoneOffset": offset,
        "bizStep": step,
        "bizLocation": {"id": place(at)},
        **more,
    }


def _cold(when: str, least: float, greatest: float) -> list[dict[str, Any]]:
    report = {
        "type": "Temperature",
        "minValue": least,
        "maxValue": greatest,
        "meanValue": (least + greatest) / 2,
        "uom": "CEL",
    }
    return [{"sensorMetadata": {"time": when}, "sensorReport": [report]}]


def _seen(  # noqa: PLR0917
    number: int,
    when: str,
    step: str,
    at: int,
    offset: str,
    what: str,
    cold: tuple[float, float] | None = None,
    **more: Any,
) -> dict[str, Any]:
    if cold:
        more["sensorElementList"] = _cold(when, *cold)
    return _event(number, when, "ObjectEvent", step, at, offset, epcList=[what], action="OBSERVE", **more)


_ORDER = [
    {"type": "po", "bizTransaction": "urn:epcglobal:cbv:bt:6901235000005:PO-20260412"},
    {"type": "inv", "bizTransaction": "urn:epcglobal:cbv:bt:7038011000009:INV-88121"},
]
EVENTS: list[tuple[int, dict[str, Any]]] = [
    (FARM, _event(1, "2026-04-12T04:10:00Z", "TransformationEvent", "commissioning", FARM, "+02:00", inputQuantityList=[{"epcClass": FEED, "quantity": 150, "uom": "KGM"}], outputQuantityList=[{"epcClass": FISH, "quantity": 120, "uom": "KGM"}], ilmd={"cbvmda:countryOfOrigin": "NO", "cbvmda:lotNumber": "F0412"})),
    (FARM, _event(2, "2026-04-12T05:30:00Z", "ObjectEvent", "inspecting", FARM, "+02:00", action="OBSERVE", quantityList=[{"epcClass": FISH, "quantity": 120, "uom": "KGM"}], disposition="conformant", sensorElementList=_cold("2026-04-12T05:30:00Z", 0.8, 1.4))),
    (WORKS, _event(3, "2026-04-12T11:00:00Z", "TransformationEvent", "commissioning", WORKS, "+02:00", inputQuantityList=[{"epcClass": FISH, "quantity": 120, "uom": "KGM"}, {"epcClass": SALT, "quantity": 2, "uom": "KGM"}], outputEPCList=[ITEM], outputQuantityList=[{"epcClass": LOT, "quantity": 180}], ilmd={"cbvmda:lotNumber": "L0412"})),
    (WORKS, _event(4, "2026-04-12T12:20:00Z", "AggregationEvent", "packing", WORKS, "+02:00", parentID=CASE, childEPCs=[ITEM], action="ADD")),
    (WORKS, _seen(5, "2026-04-12T13:00:00Z", "shipping", WORKS, "+02:00", CASE, (1.1, 2.0), bizTransactionList=_ORDER)),
    (AIR, _event(6, "2026-04-12T18:00:00Z", "AggregationEvent", "loading", AIR, "+02:00", parentID=PALLET, childEPCs=[CASE], action="ADD")),
    (AIR, _seen(7, "2026-04-12T20:30:00Z", "departing", AIR, "+02:00", PALLET, (1.5, 2.4))),
    (HUB, _seen(8, "2026-04-13T09:10:00Z", "arriving", HUB, "+08:00", PALLET, (2.2, 3.9))),
    (HUB, _event(9, "2026-04-13T10:00:00Z", "AggregationEvent", "unloading", HUB, "+08:00", parentID=PALLET, childEPCs=[CASE], action="DELETE")),
    (HUB, _seen(10, "2026-04-13T10:40:00Z", "storing", HUB, "+08:00", CASE, (1.0, 2.1))),
    (SHOP, _seen(11, "2026-04-14T00:30:00Z", "receiving", SHOP, "+08:00", CASE, (1.8, 2.9), bizTransactionList=_ORDER[:1])),
    (SHOP, _event(12, "2026-04-14T01:00:00Z", "AggregationEvent", "unpacking", SHOP, "+08:00", parentID=CASE, childEPCs=[ITEM], action="DELETE")),
    (SHOP, _seen(13, "2026-04-14T04:45:00Z", "retail_selling", SHOP, "+08:00", ITEM)),
]  # fmt: skip
"""Who captured it, and the event."""
RECALL: tuple[int, dict[str, Any]] = (
    WORKS,
    _event(14, "2026-04-15T08:00:00Z", "ObjectEvent", "holding", WORKS, "+02:00", action="OBSERVE", quantityList=[{"epcClass": LOT, "quantity": 180}], disposition="recalled"),
)  # fmt: skip
_PLACES: Mapping[int, tuple[Mapping[str, str], str, str, float, float]] = {
    FARM: ({"en": "Lofoten sea farm", "zh-Hans": "罗弗敦海上养殖场", "zh-Hant": "羅弗敦海上養殖場"}, "Svolvær", "NO", 68.23, 14.57),
    WORKS: ({"en": "Bodø filleting works", "zh-Hans": "博德鱼片加工厂", "zh-Hant": "博德魚片加工廠"}, "Bodø", "NO", 67.28, 14.40),
    AIR: ({"en": "Oslo air cargo", "zh-Hans": "奥斯陆航空货运站", "zh-Hant": "奧斯陸航空貨運站"}, "Oslo", "NO", 60.19, 11.10),
    HUB: ({"en": "Pudong cold store", "zh-Hans": "浦东冷库", "zh-Hant": "浦東冷庫"}, "Shanghai", "CN", 31.15, 121.80),
    SHOP: ({"en": "West Lake fresh market", "zh-Hans": "西湖鲜品超市", "zh-Hant": "西湖鮮品超市"}, "Hangzhou", "CN", 30.25, 120.13),
}  # fmt: skip
_MERCHANTS = {FARM: "Lofoten Havbruk", WORKS: "Nordfilet Bodø", AIR: "Polar Air Cargo", HUB: "Shenghai Cold Chain", SHOP: "West Lake Fresh"}  # fmt: skip
_GOODS: Mapping[str, Mapping[str, str]] = {
    PRODUCT_KEY: {"en": "Arctic salmon fillet, 250 g", "zh-Hans": "北极三文鱼排 250 克", "zh-Hant": "北極鮭魚排 250 克"},
    canonical_key(FEED): {"en": "Sea-grown fish feed", "zh-Hans": "海藻鱼饲料", "zh-Hant": "海藻魚飼料"},
    canonical_key(SALT): {"en": "Sea salt", "zh-Hans": "海盐", "zh-Hant": "海鹽"},
    FISH_KEY.partition("/10/")[0]: {"en": "Whole salmon", "zh-Hans": "整条三文鱼", "zh-Hant": "整條鮭魚"},
    FISH_KEY: {"en": "Whole salmon, catch of 12 April", "zh-Hans": "整条三文鱼（4月12日捕捞）", "zh-Hant": "整條鮭魚（4月12日捕撈）"},
}  # fmt: skip


def registration(what: What, key: str, merchant: int, content: Mapping[str, Any], time_ms: int) -> Record:
    item = item_of(
        Registration(what, key, merchant, dict(content)), time_ms, seeded(f"{what}/{key}/{time_ms}")
    )
    [value] = WHOLE.run(fresh_state(), [to_wire(item)]).passed[StageName.STORE]
    return envelope.decode(value)


def registrations() -> list[Record]:
    """What is registered of merchants, places and goods."""
    found = [
        registration(What.MERCHANT, merchant_key(number), number, {"name": name, "prefixes": [PREFIXES[number]]}, number)
        for number, name in _MERCHANTS.items()
    ]  # fmt: skip
    for number, (names, city, country, latitude, longitude) in _PLACES.items():
        key = canonical_key(place(number))
        content = {"key": key, "names": names, "city": city, "country": country, "coordinates": {"latitude": latitude, "longitude": longitude}}  # fmt: skip
        found.append(registration(What.PLACE, key, number, content, 100 + number))
    for key, names in _GOODS.items():
        owner = FARM if PREFIXES[FARM] in key else WORKS
        found.append(registration(What.GOODS, key, owner, {"key": key, "names": names}, 200))
    return found


def storm(count: int, *, first: int = 200, **changes: Any) -> list[Record]:
    """The records of `count` reads of the item in the shop, half a second apart, from one partition."""
    reads = [
        _seen(first + number, f"2026-04-14T02:00:{number / 2:06.3f}Z", "stocking", SHOP, "+08:00", ITEM) | changes
        for number in range(count)
    ]  # fmt: skip
    made = collected(document(*reads), merchant=SHOP, random=seeded(f"storm/{first}"))
    return [each.record for each in processed(wires(made))]


def kept_between(event: Mapping[str, Any], merchant: int, registered: RegisteredRange) -> Record:
    """The record of an event, where `collect` found a range registered of its goods."""
    (sent,) = collected(document(dict(event)), merchant=merchant, random=seeded(str(event["eventID"])))
    assert isinstance(sent.outcome, Item)
    [whole] = processed([to_wire(sent.outcome.with_facts(registered_range=registered))])
    return whole.record


class WebLogs(SignedLogs):
    """Logs in memory that are listed, too; `cosigners` cosign each checkpoint."""

    cosigners: Sequence[Cosigner] = ()

    def _signed(self, log: str, size: int) -> StoredCheckpoint:
        signed = super()._signed(log, size)
        text = parse_note(signed.note).text
        lines = [each.cosign(text, 1_790_000_000).line() for each in self.cosigners]
        return msgspec.structs.replace(signed, note=signed.note + "".join(lines))

    async def newest(self, prefix: str = "") -> dict[str, Any]:
        found = await super().newest(prefix)
        return {log: each for log, each in found.items() if log.startswith(prefix)}

    async def checkpoint(self, log: str, size: int | None = None) -> StoredCheckpoint | None:
        if log not in self.records_of:
            return None
        return self._signed(log, len(self.records_of[log]) if size is None else size)

    def signed(self, log: str, size: int) -> StoredCheckpoint:
        """The checkpoint of a log at a size."""
        return self._signed(log, size)

    def append(self, log: str, record: Record) -> None:
        """Seal a record into a log, which is made where there is none."""
        self.signers.setdefault(log, Signer(f"goodstrace.test/00/{log}", log.encode().ljust(32, b"k")))
        there = self.records_of.setdefault(log, [])
        there.append(SealedRecord(log, len(there), record.entry, record.parts, record.tags))

    async def tiles(self, log: str, needed: Iterable[Tile]) -> dict[tuple[int, int], bytes]:
        """The whole tiles that are there."""
        _, tiles = TileEdge().append(self._hashes(log, len(self.records_of[log])))
        return {
            (each.level, each.n): tiles[each.level, each.n]
            for each in needed
            if (each.level, each.n) in tiles
        }

    async def places(
        self, tags: Sequence[bytes], since: Mapping[str, int], sizes: Mapping[str, int]
    ) -> dict[bytes, list[tuple[str, int]]]:
        """What is newer than the index; none of the pages asks for it."""
        del since, sizes
        return {tag: [] for tag in tags}

    async def entries(self, log: str, first: int, end: int) -> list[bytes]:
        return [each.entry for each in self.records_of[log][first:end]]

    async def logs(self) -> list[LogInfo]:
        return [LogInfo(log, signer.name, signer.verifier.vkey()) for log, signer in self.signers.items()]

    async def signed_logs(self) -> list[LogInfo]:
        return await self.logs()


class WebWorld:
    """The pages over records in memory. `who` makes the requests; `kafka_is_away` refuses browse records."""

    def __init__(
        self,
        events: Sequence[tuple[int, Mapping[str, Any]]] = EVENTS,
        *,
        who: Principal = SHOPPER,
        more: Sequence[Record] = (),
        sign_in: WebSignIn | None = None,
        indexed: bool = False,
        proxies: str = "",
        **settings: Any,
    ) -> None:
        records = [*registrations(), *more, *sealed_events(events)]
        self.logs = WebLogs(records)
        self.settings = WebSettings(**settings)
        self.runs = MemoryRuns() if indexed else None
        offer = Offer(self.settings, None)
        if indexed:
            self.index()
        self.browses: list[Any] = []
        self.kafka_is_away = False
        self.who = who
        metrics, log = QueryMetrics(CollectorRegistry()), structlog.get_logger()
        reader: Any = self.logs
        recorder: Any = self
        unused: Any = None
        servicer = TraceServicer(
            reader, recorder, unused, unused, sight=Sight(None), secret=SECRET, page_key=fixed_key(b"p" * 32),
            max_events=1000, page_bytes=10**6, max_walks=4, metrics=metrics, log=log,
        )  # fmt: skip
        pages = WebPages(
            servicer, reader, SECRET, settings=self.settings, max_events=1000, public_url="",
            clock_s=time.monotonic, log=log, sign_in=sign_in, offers=lambda request: indexed and offer.is_for(request),
        )  # fmt: skip
        endpoints = LogEndpoints(reader, reader, public_url="", timeout_s=5, metrics=metrics, log=log)
        guard = Guard("query", self, lambda _refusal: None, proxies=networks(proxies))
        self.servicer = servicer
        more_pages = [*self._proofs(pages, offer, metrics), *self.more_pages(pages, self.settings)]
        self.app = make_app(endpoints, guard, pages=pages, more_pages=more_pages)

    def more_pages(self, pages: WebPages, settings: WebSettings) -> Sequence[MorePages]:
        """Pages beside those for everybody; none here."""
        del pages, settings
        return ()

    def _proofs(self, pages: WebPages, offer: Offer, metrics: QueryMetrics) -> Sequence[MorePages]:
        """Proofs of completeness, where the logs are indexed."""
        if self.runs is None:
            return ()
        shared: Any = {"sight": Sight(None), "metrics": metrics, "log": structlog.get_logger()}
        us: Any = self
        service = CompletenessServicer(
            us.logs, us, us.runs, us.logs, secret=SECRET, gate=IndexGate(None), page_bytes=3 * 2**20, max_calls=4, **shared
        )  # fmt: skip
        return (CompletePages(pages, service, offer, SECRET),)

    def index(self, *, left_out: tuple[str, int] | None = None, covered: float = 1.0, runs: int = 3) -> None:
        """Seal a leaf into the log `index` that covers some part of all goods logs; a wrong builder leaves out an entry."""
        assert self.runs is not None
        names = sorted(each for each in self.logs.records_of if each.startswith("goods/"))
        sizes = {log: max(1, int(len(self.logs.records_of[log]) * covered)) for log in names}
        parts: list[list[bytes]] = [[] for _ in range(runs)]
        for number, log in enumerate(names):
            for record in self.logs.records_of[log][: sizes[log]]:
                rows = [Row(tag, number, record.index).encode() for tag in record.tags]
                parts[record.index * runs // sizes[log]] += [] if (log, record.index) == left_out else rows
        made = tuple(self.runs.add(n * 5, n * 5 + 5, part) for n, part in enumerate(parts))
        logs = tuple(IndexedLog(log, sizes[log]) for log in names)
        leaf = IndexLeaf(logs, RootAt("00" * 32, runs * 5), made, secret_commitment(SECRET))
        count = len(self.logs.records_of.get("index", ()))
        self.logs.append("index", index_record(leaf, record_id=count.to_bytes(16), salt=bytes(32), time_ms=1))

    async def record(self, browse: Any) -> str:
        if self.kafka_is_away:
            raise NotRecordedError("Kafka is away")
        self.browses.append(browse)
        return "ab" * 16

    async def known(self, headers: Headers, certificate_names: Sequence[str] = ()) -> Known:
        """Authentication: `who` it is, whatever is shown."""
        del headers, certificate_names
        return Known(self.who, self._again)

    async def _again(self) -> Principal:
        return self.who

    @contextmanager
    def served(self, **tls: Any) -> Iterator[str]:
        """Serve on a port of this machine, by TLS where uvicorn's settings for it are given; gives the address."""
        port = free_port()
        config = uvicorn.Config(
            self.app,
            "127.0.0.1",
            port,
            log_level="error",
            lifespan="off",
            ws="none",
            proxy_headers=False,
            **tls,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        until = time.monotonic() + 20
        while not server.started and time.monotonic() < until:
            time.sleep(0.02)
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(10)


__all__ = ["EVENTS", "ITEM", "ITEM_KEY", "ITEM_PATH", "RECALL", "SHOPPER", "WebWorld"]
