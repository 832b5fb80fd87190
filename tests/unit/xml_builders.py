"""EPCIS events as XML, written from their JSON form by the text of the standard and by nothing of the product's reading."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from xml.sax.saxutils import escape, quoteattr

NAMESPACES = {
    "epcis": "urn:epcglobal:epcis:xsd:2",
    "ex": "https://ns.example.com/epcis/",
    "cbvmda": "urn:epcglobal:cbv:mda",
}
BASE_EXTENSION = ("eventID", "errorDeclaration")
EXTENSION = ("quantityList", "childQuantityList", "sourceList", "destinationList", "ilmd")
"""Where EPCIS 1.2 puts them in an event that is older than they are."""


def element(name: str, content: str = "", attributes: Mapping[str, Any] | None = None) -> str:
    written = "".join(f" {key}={quoteattr(text(value))}" for key, value in (attributes or {}).items())
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def leaf(name: str, value: Any) -> str:
    return element(name, escape(text(value), {"\r": "&#13;"}))


def extension(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list) and name.endswith("List"):
        return element(name, "".join(extension(name[:-4], each) for each in value))
    if isinstance(value, list):
        return "".join(extension(name, each) for each in value)
    if isinstance(value, dict):
        return element(name, "".join(extension(key, each) for key, each in value.items()))
    return leaf(name, value)


def sensor(value: dict[str, Any]) -> str:
    inside = ""
    for name, member in value.items():
        if name == "sensorMetadata":
            inside += element(name, attributes=member)
        elif name == "sensorReport":
            inside += "".join(element(name, attributes=report) for report in member)
        else:
            inside += extension(name, member)
    return element("sensorElement", inside)


def typed(name: str, value: dict[str, Any]) -> str:
    attributes = {"type": value["type"]} if "type" in value else {}
    return element(name, escape(value[name]), attributes)


def member(name: str, value: Any) -> str:
    """Write one member of an event."""
    if name == "errorDeclaration":
        return element(name, "".join(member(key, each) for key, each in value.items()))
    item = ITEMS.get(name)
    return element(name, "".join(map(item, value))) if item else extension(name, value)


def quantity(value: dict[str, Any]) -> str:
    return element("quantityElement", "".join(leaf(name, each) for name, each in value.items()))


ITEMS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("epcList", "childEPCs", "inputEPCList", "outputEPCList"), partial(leaf, "epc")),
    **dict.fromkeys(
        ("quantityList", "childQuantityList", "inputQuantityList", "outputQuantityList"), quantity
    ),
    "bizTransactionList": partial(typed, "bizTransaction"),
    "sourceList": partial(typed, "source"),
    "destinationList": partial(typed, "destination"),
    "sensorElementList": sensor,
    "correctiveEventIDs": partial(leaf, "correctiveEventID"),
}


def event_element(event: Mapping[str, Any], *, version: int = 2, outer: bool = True) -> str:
    """Write an event; version 1 wraps what EPCIS 1.0 did not know. With `outer`, prefixes are declared around it."""
    members = {name: member(name, value) for name, value in event.items() if name not in ("type", "@context")}
    if version == 1:
        base = "".join(members.pop(name) for name in BASE_EXTENSION if name in members)
        later = "".join(members.pop(name) for name in EXTENSION if name in members)
        members = {
            "base": element("baseExtension", base) if base else "",
            **members,
            "later": element("extension", later) if later else "",
        }
    declared = {} if outer else {f"xmlns:{prefix}": uri for prefix, uri in NAMESPACES.items()}
    return element(event["type"], "".join(members.values()), declared)


def xml_document(*elements: str, version: int = 2, head: str = "", query: bool = False) -> bytes:
    """Write a document of events."""
    namespaces = NAMESPACES | {"epcis": f"urn:epcglobal:epcis{'-query' if query else ''}:xsd:{version}"}
    attributes = {
        **{f"xmlns:{prefix}": uri for prefix, uri in namespaces.items()},
        "schemaVersion": "2.0" if version == 2 else "1.2",
        "creationDate": "2026-01-02T03:04:05Z",
    }
    events = element("EventList", "\n".join(elements))
    if query:
        events = element(
            "epcis:QueryResults", leaf("queryName", "SimpleEventQuery") + element("resultsBody", events)
        )
    body = element("EPCISBody", events)
    root = element(f"epcis:EPCIS{'Query' if query else ''}Document", head + "\n" + body, attributes)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}\n'.encode()
