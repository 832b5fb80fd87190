"""Signing whole EPCIS documents: each event over its exact bytes, the signatures beside them. Pure."""

from __future__ import annotations

import json
import re
from typing import Final

import msgspec

from goodstrace.errors import SignatureError
from goodstrace.signatures import MEMBER, NAMESPACE, PrivateKey, sign
from goodstrace.xml_slices import event_slices

_BOM: Final = b"\xef\xbb\xbf"
_XML: Final = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*+<")
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_PLACES: Final = {
    "EPCISDocument": ("epcisBody", "eventList"),
    "EPCISQueryDocument": ("epcisBody", "queryResults", "resultsBody", "eventList"),
}


def sign_document(document: bytes, private: PrivateKey) -> bytes:
    """Give the document with the signatures of all its events; no other byte changes.

    In JSON they are the member `goodstrace:signatures`, in XML (UTF-8) an element of that name, the last in the document's own.
    Raises: SignatureError where it is no EPCIS document, or signed already.
    """
    if _XML.match(document):
        return _sign_xml(document, private)
    try:
        top = _MEMBERS.decode(document)
        level = top
        path = _PLACES[json.loads(bytes(top["type"]))]
        for name in path[:-1]:
            level = _MEMBERS.decode(level[name])
        events = _ITEMS.decode(level[path[-1]])
    except (KeyError, TypeError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise SignatureError("not an EPCIS document in JSON or XML") from error
    if MEMBER in top:
        raise SignatureError("the document is signed already")
    signatures = json.dumps([sign(bytes(event), private) for event in events])
    return document.rstrip()[:-1] + f', "{MEMBER}": {signatures}}}\n'.encode()


def _sign_xml(document: bytes, private: PrivateKey) -> bytes:
    text = document.removeprefix(_BOM)
    if NAMESPACE.encode() in text:
        raise SignatureError("the document is signed already")
    try:
        text.decode()
        found = event_slices(text)
    except ValueError as error:
        raise SignatureError(f"not an EPCIS document in XML: {error}") from error
    listed = "".join(
        f"<gst:signature>{sign(text[begin:end], private)}</gst:signature>" for begin, end in found.events
    )
    added = f'<gst:signatures xmlns:gst="{NAMESPACE}">{listed}</gst:signatures>'.encode()
    return text[: found.root_end] + added + text[found.root_end :]
