"""Records of our own that the stages must take: by them an error that hits every record is told from one of a single record. Pure.

Nobody outside has a say in it, as one would who could bring about so many failures that a threshold is passed.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import count
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Final

import msgspec

from goodstrace.facts import Limit, RegisteredRange
from services.collector import documents
from services.collector.collect import Rules, Stamp, collect
from services.collector.documents import Limits
from services.collector.errors import FaultyReleaseError
from services.collector.flow import (
    SIGNATURE_PART,
    Item,
    Outcome,
    Reason,
    Rejected,
    StageName,
    from_wire,
    to_wire,
)
from services.collector.registry.registrations import Registration, item_of
from services.runtime.envelope import Part
from services.runtime.errors import ServiceError
from services.runtime.merchants.values import What

Take = Callable[[StageName, Item], Outcome]
"""Runs one stage over one item, as over those that come from Kafka."""
_TIME_MS: Final = 1_767_225_600_000
_MERCHANT: Final = 1
_SERIAL: Final = "urn:epc:id:sgtin:9521234.054321.1"
_LINK: Final = "https://id.gs1.org/01/09521234543213/10/A1/21/2"
_GOODS: Final = "https://id.gs1.org/01/09521234543213/21/2"
_LOT: Final = "urn:epc:class:lgtin:9521234.054321.A1"
_CASE: Final = "urn:epc:id:sscc:9521234.1000000001"
_PLACE: Final = "urn:epc:id:sgln:9521234.00001.0"
_QUANTITY: Final = {"epcClass": _LOT, "quantity": 2.5, "uom": "KGM"}
_COMMON: Final[Mapping[str, Any]] = MappingProxyType({
    "eventTime": "2026-01-01T00:00:00.000Z",
    "eventTimeZoneOffset": "+01:00",
    "bizStep": "urn:epcglobal:cbv:bizstep:shipping",
    "disposition": "in_transit",
    "readPoint": {"id": _PLACE},
    "bizLocation": {"id": _PLACE},
    "bizTransactionList": [{"type": "po", "bizTransaction": "urn:epcglobal:cbv:bt:9521234000013:1"}],
    "sourceList": [{"type": "owning_party", "source": "urn:epc:id:pgln:9521234.00001"}],
    "destinationList": [{"type": "location", "destination": _PLACE}],
    "ex:more": {"of": ["anybody's", 1.50]},
})  # fmt: skip
_EVENTS: Final[tuple[Mapping[str, Any], ...]] = (
    {
        "type": "ObjectEvent",
        "action": "ADD",
        "epcList": [_SERIAL, _LINK],
        "quantityList": [_QUANTITY, {"epcClass": "urn:epc:idpat:sgtin:9521234.054321.*", "quantity": 3}],
        "ilmd": {"cbvmda:lotNumber": "A1", "cbvmda:itemExpirationDate": "2026-02-01"},
        "persistentDisposition": {"set": ["completeness_verified"]},
        "sensorElementList": [
            {
                "sensorMetadata": {"deviceID": "urn:epc:id:giai:9521234.1", "time": "2026-01-01T00:00:00Z"},
                "sensorReport": [
                    {"type": "gs1:Temperature", "value": 26.5, "maxValue": 30, "uom": "CEL"},
                    {"type": "gs1:Illuminance", "booleanValue": True, "deviceID": "urn:epc:id:giai:9521234.2"},
                ],
            }
        ],
    },
    {"type": "ObjectEvent", "action": "OBSERVE", "epcList": [_CASE]},
    {"type": "ObjectEvent", "action": "OBSERVE", "epcList": [_CASE], "eventTime": "2026-01-01T00:00:01Z"},
    {
        "type": "ObjectEvent",
        "action": "DELETE",
        "eventID": "urn:goodstrace:sample:1",
        "epcList": [_SERIAL],
        "errorDeclaration": {
            "declarationTime": "2026-01-01T00:00:00Z",
            "reason": "incorrect_data",
            "correctiveEventIDs": ["urn:goodstrace:sample:2"],
        },
    },
    {
        "type": "AggregationEvent",
        "action": "ADD",
        "parentID": _CASE,
        "childEPCs": [_SERIAL],
        "childQuantityList": [_QUANTITY],
    },
    {"type": "TransactionEvent", "action": "ADD", "parentID": _CASE, "epcList": [_SERIAL], "quantityList": [_QUANTITY]},
    {
        "type": "TransformationEvent",
        "transformationID": "urn:epc:id:gdti:9521234.00001.1",
        "inputEPCList": [_CASE],
        "inputQuantityList": [_QUANTITY],
        "outputEPCList": [_SERIAL],
        "outputQuantityList": [_QUANTITY],
        "ilmd": {"cbvmda:lotNumber": "A1"},
    },
    {"type": "AssociationEvent", "action": "ADD", "parentID": _CASE, "childEPCs": [_LINK], "childQuantityList": [_QUANTITY]},
)  # fmt: skip
_HEAD: Final[Mapping[str, Any]] = MappingProxyType({
    "@context": [
        "https://ref.gs1.org/standards/epcis/epcis-context.jsonld", {"ex": "https://ns.example.com/", "cbvmda": "urn:epcglobal:cbv:mda:"}
    ],
    "type": "EPCISDocument",
    "schemaVersion": "2.0",
    "creationDate": "2026-01-01T00:00:00Z",
})  # fmt: skip
_XML: Final = f"""<?xml version="1.0" encoding="UTF-8"?>
<epcis:EPCISDocument xmlns:epcis="urn:epcglobal:epcis:xsd:2" xmlns:ex="https://ns.example.com/" schemaVersion="2.0"
 creationDate="2026-01-01T00:00:00Z"><EPCISBody><EventList><ObjectEvent><eventTime>2026-01-01T00:00:00Z</eventTime>
<eventTimeZoneOffset>+01:00</eventTimeZoneOffset><epcList><epc>{_SERIAL}</epc></epcList><action>OBSERVE</action>
<bizStep>shipping</bizStep><readPoint><id>{_PLACE}</id></readPoint><quantityList><quantityElement><epcClass>{_LOT}</epcClass>
<quantity>2.50</quantity><uom>KGM</uom></quantityElement></quantityList><sensorElementList><sensorElement>
<sensorReport type="gs1:Temperature" value="26.50" uom="CEL"/></sensorElement></sensorElementList><ex:more>1</ex:more>
</ObjectEvent></EventList></EPCISBody></epcis:EPCISDocument>"""
_RANGE: Final = RegisteredRange(high=Limit("25", "https://id.gs1.org/01/09521234543213", "00" * 16))


class Sort(msgspec.Struct, frozen=True):
    """What decides, beside its content, what becomes of a record: its pipeline version, and the books that its facts name."""

    version: str
    step_table: str = ""
    rule_sets: tuple[str, ...] = ()


def check(take: Take, stages: Sequence[StageName], sort: Sort) -> None:
    """Take all samples through `stages`, the first ones of the pipeline in order.

    Raises: FaultyReleaseError, where a stage fails over one or refuses it; ServiceError and MemoryError as the stages do.
    """
    stage = StageName.COLLECT
    try:
        for value in samples(sort):
            item = from_wire(value)
            assert isinstance(item, Item)
            for stage in stages:
                outcome = take(stage, item)
                if isinstance(outcome, Rejected):
                    _must_be_duplicate(stage, outcome)
                    break
                item = outcome.item
    except (ServiceError, MemoryError):
        raise
    except Exception as error:
        raise _failed(stage, error) from error


def check_collecting() -> None:
    """See that `collect` takes what the samples are made of. Raises: FaultyReleaseError."""
    try:
        _collected()
    except (ServiceError, MemoryError):
        raise
    except Exception as error:
        raise _failed(StageName.COLLECT, error) from error


def samples(sort: Sort) -> list[bytes]:
    """Give them as they would lie on `goods.collected`.

    An event of each type with all that stages read, a repeated read, an event that comes again and then signed, one that came as XML, and a
    registration.
    """
    return [
        to_wire(
            Item(msgspec.structs.replace(each.record, pipeline_version=sort.version), each.facts).with_facts(
                pipeline=sort.version, step_table=sort.step_table, rule_sets=sort.rule_sets
            )
        )
        for each in _collected()
    ]


@cache
def _collected() -> tuple[Item, ...]:
    random = _counted()
    events = [dict(_COMMON, **event) for event in _EVENTS]
    found = []
    for body in (msgspec.json.encode({**_HEAD, "epcisBody": {"eventList": events}}), _XML.encode()):
        for sent in collect(
            documents.read(body, Limits()), Stamp(bytes(16), _MERCHANT, _TIME_MS), Rules(), random
        ):
            if isinstance(sent.outcome, Rejected):
                raise _faulty(StageName.COLLECT, f"refuses it: {sent.fault}")
            found.append(sent.outcome)
    found[0] = found[0].with_facts(registered_range=_RANGE)
    goods = Registration(What.GOODS, _GOODS, _MERCHANT, {"key": _GOODS, "attributes": {"lotNumber": "A2"}})
    return (*found, found[0], _signed(found[0]), item_of(goods, _TIME_MS, random))


def _signed(item: Item) -> Item:
    *others, facts = item.record.parts
    parts = (*others, Part(SIGNATURE_PART, facts.salt, b"checked by collect alone"), facts)
    return Item(msgspec.structs.replace(item.record, parts=parts), item.facts)


def _counted() -> Callable[[int], bytes]:
    """Bytes that differ from call to call and are the same in every process."""
    calls = count()
    return lambda size: next(calls).to_bytes(size, "big")


def _must_be_duplicate(stage: StageName, refused: Rejected) -> None:
    rejection = refused.record.rejection
    if rejection is None or rejection.reason != Reason.DUPLICATE:
        raise _faulty(stage, f"refuses it: {rejection.detail if rejection else ''}")


def _failed(stage: StageName, error: Exception) -> FaultyReleaseError:
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{PurePath(last.filename).name}:{last.lineno}"
    return _faulty(stage, f"fails over it with {type(error).__name__} at {place}: {error}")


def _faulty(stage: StageName, does: str) -> FaultyReleaseError:
    return FaultyReleaseError(
        f"the stage {stage} was given a record of the program's own, which it must pass, and {does}. It is this release that is at fault "
        "(or the operator's books), not what was captured. Nothing is lost, and nothing was refused for it: run the release (or the books) of before"
    )
