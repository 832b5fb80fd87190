"""The event part of a record: from the exact bytes as captured, JSON or XML, to the JSON form of EPCIS 2.0. Pure.

This is the one place that decides which of the two a part is. Whoever reads an event part, in a service or offline,
reads it here, so that everyone sees the same event and computes the same event hash.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from goodstrace import xml_event
from goodstrace.errors import EventContentError
from goodstrace.exact_numbers import exact

__all__ = ["is_xml", "read_event"]

_DECODER: Final = msgspec.json.Decoder()
_EXACT_DECODER: Final = msgspec.json.Decoder(float_hook=exact)


def is_xml(content: bytes) -> bool:
    """Say whether an event part is XML: its first byte is `<`. No JSON begins so, and every event element does."""
    return content.startswith(b"<")


def read_event(content: bytes, context: object, *, exact_numbers: bool = False) -> dict[str, Any]:
    """Read an event part.

    Args:
        content: the exact bytes as sealed: a JSON object, or one XML element, in UTF-8.
        context: the `context` of the event's facts. JSON does not need it. For XML it holds the namespaces that were
            declared around the event: {"xmlns": {prefix: URI}}.
        exact_numbers: give numbers with a fraction or exponent as Decimal instead of float.
    Returns: the event as a JSON decoder gives it. An event that came as XML declares the prefixes of its extensions in an
        `@context` member; docs/xml.md says what becomes of its elements.
    Raises: EventContentError, whatever the bytes.
    """
    if is_xml(content):
        return xml_event.read(content, xml_event.namespaces_of(context), exact_numbers=exact_numbers)
    try:
        event = (_EXACT_DECODER if exact_numbers else _DECODER).decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventContentError(f"not JSON: {error}") from error
    if not isinstance(event, dict):
        raise EventContentError("not a JSON object")
    return event
