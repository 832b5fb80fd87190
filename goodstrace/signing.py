"""Signing whole EPCIS documents: each event over its exact bytes, the signatures beside them. Pure."""

from __future__ import annotations

import json
from typing import Final

import msgspec

from goodstrace.errors import SignatureError
from goodstrace.signatures import MEMBER, PrivateKey, sign

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_PLACES: Final = {
    "EPCISDocument": ("epcisBody", "eventList"),
    "EPCISQueryDocument": ("epcisBody", "queryResults", "resultsBody", "eventList"),
}


def sign_document(document: bytes, private: PrivateKey) -> bytes:
    """Give the document with the signatures of all its events in the member `goodstrace:signatures`; no other byte changes.

    Raises: SignatureError where it is no EPCIS document in JSON, or signed already.
    """
    try:
        top = _MEMBERS.decode(document)
        level = top
        path = _PLACES[json.loads(bytes(top["type"]))]
        for name in path[:-1]:
            level = _MEMBERS.decode(level[name])
        events = _ITEMS.decode(level[path[-1]])
    except (KeyError, TypeError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise SignatureError("not an EPCIS document in JSON") from error
    if MEMBER in top:
        raise SignatureError("the document is signed already")
    signatures = json.dumps([sign(bytes(event), private) for event in events])
    return document.rstrip()[:-1] + f', "{MEMBER}": {signatures}}}\n'.encode()
