"""Events of each type with every field that EPCIS 2.0 knows, and changes of them that put what attackers write into one text at a time.

Every payload has the word MARK in it, in the place of whatever a browser would make of it, so that pages can be searched for what was made.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

from services import query
from services.collector import documents
from services.collector.collect import Rules, Stamp, collect
from services.collector.documents import Limits
from services.collector.errors import DocumentError
from services.collector.flow import Item, to_wire
from services.runtime.envelope import Record
from tests.unit.collector_builders import CONTEXT, NOW_MS, counted, document, items_of, run_all

MARK: Final = "xq7zwkv"  # so long that no random token has it in it
PAYLOADS: Final[Mapping[str, str]] = {
    "script": f"<script>alert('{MARK}')</script><{MARK}-made>",
    "image": f'"><img src={MARK} onerror=alert("{MARK}")>',
    "attribute": f"'onmouseover='alert(`{MARK}`)' {MARK}='1",
    "address": f"javascript:alert('{MARK}')",
    "end": f"</textarea></title></pre></svg><iframe src=//{MARK}.example>",
    "template": f"{{{{1234*5678}}}}{{% raw %}}${{{MARK}}}",
    "header": f"{MARK}%0d%0aSet-Cookie:{MARK}=1",
}
COMPUTED: Final = "7006652"
"""What the template would make of its payload."""
PROBE: Final = "urn:epc:id:sgtin:7038011.000201.777"
"""Every event names it, so that its page shows them all."""
_ITEM, _PALLET = "urn:epc:id:sgtin:7038011.000201.5", "urn:epc:id:sscc:7038011.0000000999"
LOT: Final = "urn:epc:class:lgtin:7038011.000201.L9"
_PLACE = "urn:epc:id:sgln:7038011.00009.0"
_PARTY, _DEVICE = "urn:epc:id:pgln:7038011.00000", "urn:epc:id:giai:7038011.400"
_QUANTITIES = [
    {"epcClass": LOT, "quantity": 7, "uom": "KGM"},
    {"epcClass": "urn:epc:idpat:sgtin:7038011.000201.*"},
]
_DEEP = {"ex:in": {"ex:list": ["one", {"ex:name": "two", "ex:deeper": {"ex:last": "three"}}]}, "ex:plain": "four"}  # fmt: skip
_SENSORS = [
    {
        "sensorMetadata": {
            "time": "2026-04-12T05:00:00Z", "startTime": "2026-04-12T04:00:00Z", "endTime": "2026-04-12T05:00:00Z", "deviceID": _DEVICE,
            "deviceMetadata": "https://id.gs1.org/8004/7038011400", "rawData": "https://id.gs1.org/8004/7038011401",
            "dataProcessingMethod": "https://x.example/method", "bizRules": "https://x.example/rules", "ex:made": "by hand",
        },
        "sensorReport": [
            {
                "type": "Temperature", "value": 2.5, "minValue": 2.1, "maxValue": 2.9, "meanValue": 2.4, "sDev": 0.1, "uom": "CEL", "exception": "ALARM_CONDITION",
                "deviceID": _DEVICE, "deviceMetadata": "https://id.gs1.org/8004/7038011400", "rawData": "https://id.gs1.org/8004/7038011401",
                "time": "2026-04-12T05:00:00Z", "percRank": 50, "percValue": 2.2, "dataProcessingMethod": "https://x.example/method",
                "coordinateReferenceSystem": "https://x.example/4979", "ex:ward": "north",
            },
            {
                "type": "https://x.example/Odour", "stringValue": "as the sea", "chemicalSubstance": "https://identifiers.org/inchikey:CZMRCDWAGMRECN-UGDNZRGBSA-N",
                "microorganism": "https://www.ncbi.nlm.nih.gov/taxonomy/1126011", "component": "x", "uriValue": "https://x.example/value", "hexBinaryValue": "F0", "booleanValue": True,
            },
        ],
        "ex:element": "whole",
    }
]  # fmt: skip
_COMMON = {
    "eventTime": "2026-04-12T05:30:00Z", "recordTime": "2026-04-12T05:31:00Z", "eventTimeZoneOffset": "+02:00",
    "certificationInfo": ["https://x.example/certificate/1"],
    "errorDeclaration": {
        "declarationTime": "2026-04-12T06:30:00Z", "reason": "incorrect_data",
        "correctiveEventIDs": ["urn:uuid:00000000-0000-4000-8000-000000009999"], "ex:who": "the clerk",
    },
    "bizStep": "inspecting", "disposition": "conformant", "persistentDisposition": {"set": ["completeness_verified"], "unset": ["completeness_inferred"]},
    "readPoint": {"id": _PLACE, "ex:gate": "3"}, "bizLocation": {"id": _PLACE, "ex:hall": "B"},
    "bizTransactionList": [{"type": "po", "bizTransaction": "urn:epcglobal:cbv:bt:7038011000002:PO-1"}],
    "sourceList": [{"type": "owning_party", "source": _PARTY}], "destinationList": [{"type": "location", "destination": _PLACE}],
    "sensorElementList": _SENSORS, "ex:own": _DEEP,
}  # fmt: skip
_ILMD = {"cbvmda:countryOfOrigin": "NO", "cbvmda:lotNumber": "L9", "ex:more": _DEEP}
EVENTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "ObjectEvent": {"epcList": [_ITEM, PROBE], "quantityList": _QUANTITIES, "action": "ADD", "ilmd": _ILMD},
    "AggregationEvent": {"parentID": _PALLET, "childEPCs": [_ITEM, PROBE], "childQuantityList": _QUANTITIES, "action": "ADD"},
    "AssociationEvent": {"parentID": _PALLET, "childEPCs": [_ITEM, PROBE], "childQuantityList": _QUANTITIES, "action": "ADD"},
    "TransactionEvent": {"parentID": _PALLET, "epcList": [_ITEM, PROBE], "quantityList": _QUANTITIES, "action": "ADD"},
    "TransformationEvent": {
        "inputEPCList": [_ITEM], "inputQuantityList": _QUANTITIES, "outputEPCList": [_ITEM + "1", PROBE], "outputQuantityList": _QUANTITIES,
        "transformationID": "urn:epc:id:gdti:7038011.00001.7", "ilmd": _ILMD,
    },
}  # fmt: skip
"""What each type has of its own; `whole` adds what all have."""


def whole(kind: str) -> dict[str, Any]:
    """An event of a type with every field, and the @context of its document."""
    event = {
        "type": kind,
        "eventID": "urn:uuid:00000000-0000-4000-8000-000000000001",
        **_COMMON,
        **EVENTS[kind],
    }
    return {"@context": [CONTEXT, {"ex": "https://x.example/"}], "event": event}


def forms(payload: str) -> tuple[str, ...]:
    """The ways to write a payload, for fields that take only URIs, or URIs of a scheme, or those without blanks (browsers take `/` there too)."""
    whole = "".join(
        "/" if each.isspace() else each for each in payload if each.isprintable() or each.isspace()
    )
    return (
        payload,
        *(
            f"{scheme}{each}"
            for each in (payload, whole)
            for scheme in ("urn:x:", "https://x.example/", "ex:")
        ),
    )


def changes(value: Any, text: str, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each way to put `text` in the place of one string or of one member's name; gives where, `#` after a name, and what comes out."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{path}/{name}#", {(text if each == name else each): one for each, one in value.items()}
            for where, changed in changes(inner, text, f"{path}/{name}"):
                yield where, {**value, name: changed}
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            if inner == PROBE:
                continue  # else nothing would be found
            for where, changed in changes(inner, text, f"{path}/{place}"):
                yield where, [*value[:place], changed, *value[place + 1 :]]
    elif isinstance(value, str):
        yield path, text


def captured(changed: Mapping[str, Any], number: int) -> Record | None:
    """The record that the collector's stages make of an event in its document; None where they refuse it."""
    if "event" not in changed or "@context" not in changed:
        return None  # these two names are of this file
    event = changed["event"]
    if isinstance(event, dict) and str(event.get("eventID", "")).endswith("-000000000001"):
        event = {**event, "eventID": f"urn:uuid:00000000-0000-4000-8000-{number:012d}"}
    try:
        taken = documents.read(document(event, **{"@context": changed["@context"]}), Limits())
    except DocumentError:
        return None
    [sent] = collect(taken, Stamp(b"c" * 16, 2, NOW_MS), Rules(), counted(number * 10))
    if not isinstance(sent.outcome, Item):
        return None
    output = run_all([to_wire(sent.outcome)])
    return items_of(output)[0].record if items_of(output) else None


def tried(kind: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Where in an event of a type which payload is written, in which ways: fields that all types have get all payloads in object events, else one in turn."""
    for turn, (where, _) in enumerate(changes(whole(kind), "")):
        own = where.split("/")[2].rstrip("#") if where.count("/") > 1 else ""
        for number, payload in enumerate(PAYLOADS):
            if kind == "ObjectEvent" or own in EVENTS[kind] or number == turn % len(PAYLOADS):
                yield where, payload, forms(PAYLOADS[payload])


def all_captured(kind: str) -> tuple[list[tuple[str, str, Record]], Counter[str]]:
    """The hostile events of a type that are captured (where, which payload, the record), and how often each field was refused."""
    changed = {text: dict(changes(whole(kind), text)) for each in PAYLOADS.values() for text in forms(each)}
    number, taken, refused = 0, list[tuple[str, str, Record]](), Counter[str]()
    for where, payload, texts in tried(kind):
        if where in {"/event#", "/@context#"}:
            continue
        for text in texts:
            number += 1
            record = captured(changed[text][where], number)
            if record is not None:
                taken.append((where, payload, record))
                break
        else:
            refused[where] += 1
    return taken, refused


class Page(HTMLParser):
    """What a browser would make of a page, and how its pieces have to be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.text: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at an element: it must be one that templates have, with attributes that templates give it."""
        self._inside = tag
        known = _ELEMENTS.get(tag)
        wrong = [name for name, _ in attrs if known is None or name not in known]
        if known is None or wrong or len({name for name, _ in attrs}) < len(attrs):
            self.faults.append(f"<{tag} {wrong}>")
        self.faults += [
            f"{name}={value}" for name, value in attrs if name in _ADDRESSES and not _is_own(value or "")
        ]

    def handle_data(self, data: str) -> None:
        """Keep text; in scripts and styles there is none."""
        if self._inside in {"script", "style"} and data.strip():
            self.faults.append(f"inline {self._inside}: {data[:50]}")
        self.text.append(data)

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        del tag
        self._inside = ""

    def handle_comment(self, data: str) -> None:
        """Templates write none."""
        self.faults.append(f"comment: {data[:50]}")

    def said(self) -> str:
        """All text, as it is read."""
        return "".join(self.text)


_ADDRESSES: Final = (
    "href",
    "src",
    "action",
    "formaction",
    "poster",
    "data",
    "srcdoc",
    "background",
    "xlink:href",
    "srcset",
)
_TEMPLATES = Path(query.__path__[0]) / "web" / "templates"


def _is_own(address: str) -> bool:
    """Say whether an address is a path of this server, or a place on the page."""
    return re.fullmatch(r"(/([^/\\\s][^\s\\]*)?|#[\w-]+)", address) is not None


def _elements() -> dict[str, set[str]]:
    """The elements that templates have, with the attributes that they give them: what stands between tags and quotes as it is written there."""
    found: dict[str, set[str]] = {}
    for file in _TEMPLATES.rglob("*.html"):
        text = re.sub(r"{{.*?}}|{%.*?%}", " ", file.read_text(), flags=re.DOTALL)
        for tag, inside in re.findall(r"<([a-z][a-z0-9]*)((?:\s+[\w:-]+(?:=\"[^\"]*\")?|\s)*)\s*/?>", text):
            found.setdefault(tag, set()).update(
                re.findall(r"([\w:-]+)(?:=\"[^\"]*\")?", re.sub(r'"[^"]*"', '""', inside).lower())
            )
    return found


_ELEMENTS: Final = _elements()


def assert_nothing_made(text: str, where: object = "") -> Page:
    """See that a page has no element, attribute, address or header of anybody else's making; gives what it says."""
    page = Page(text)
    assert not page.faults, (where, page.faults[:5])
    assert COMPUTED not in text, where
    return page
