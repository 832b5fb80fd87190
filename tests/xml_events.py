"""The events of an XML document by nothing but the standard library's element trees, to judge what the product takes from it."""

import re
from collections.abc import Iterator
from xml.etree import ElementTree as ET


def events_of_xml(content: bytes) -> list[ET.Element]:
    """Give the event elements of a document, those in `extension` elements too."""
    root = ET.fromstring(content.removeprefix(b"\xef\xbb\xbf"))
    return [event for listed in root.iter("EventList") for event in _events(listed)]


def _events(holder: ET.Element) -> Iterator[ET.Element]:
    for child in holder:
        if child.tag == "extension":
            yield from _events(child)
        else:
            yield child


def alone(part: bytes, document: bytes) -> ET.Element:
    """Give an event cut out of a document as an element, with the prefixes that the document's first element declares."""
    declared = b" ".join(
        re.findall(rb"xmlns:[^\s=]+\s*=\s*(?:\"[^\"]*\"|'[^']*')", document[: document.find(b"EPCISBody")])
    )
    return ET.fromstring(b"<around " + declared + b">" + part + b"</around>")[0]


def same(one: ET.Element, other: ET.Element) -> bool:
    """Say whether two elements hold the same."""
    return (
        (one.tag, one.attrib, (one.text or "").strip(), len(one))
        == (other.tag, other.attrib, (other.text or "").strip(), len(other))
    ) and all(map(same, one, other))
