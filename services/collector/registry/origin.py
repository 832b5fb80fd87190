"""Which goods an event must have the right to name, and the first that it has not. Pure. See docs/decisions/0020."""

from collections.abc import Iterator
from typing import Any, Final

from services.collector.errors import Fault
from services.collector.record import canonical_key
from services.collector.registry.claims import Policy, Speech

_COMMISSIONED: Final = ("epcList", "quantityList")
_PUT_OUT: Final = ("outputEPCList", "outputQuantityList")
_ALL: Final = (
    "parentID",
    "epcList",
    "quantityList",
    "childEPCs",
    "childQuantityList",
    "inputEPCList",
    "inputQuantityList",
    "outputEPCList",
    "outputQuantityList",
)


def foreign(event: dict[str, Any], speech: Speech) -> Fault | None:
    """Find the first of an event's goods that the caller may not speak for.

    Args:
        event: one that `check_event` has found sound.
        speech: what the caller may say.
    Returns: the place in the event and what is wrong, or None.
    """
    for pointer, uri in _named(event, speech.policy):
        key = canonical_key(uri)
        if not speech.may_name(key):
            return Fault(pointer, f"{key} is not the merchant's to speak for")
    return None


def _named(event: dict[str, Any], policy: Policy) -> Iterator[tuple[str, str]]:
    for name in _members(event, policy):
        listed = event.get(name, ())
        if isinstance(listed, str):
            yield f"/{name}", listed
            continue
        for index, each in enumerate(listed):
            if isinstance(each, str):
                yield f"/{name}/{index}", each
            else:
                yield f"/{name}/{index}/epcClass", each["epcClass"]


def _members(event: dict[str, Any], policy: Policy) -> tuple[str, ...]:
    if policy is Policy.STRICT:
        return _ALL
    if event["type"] == "ObjectEvent" and event["action"] == "ADD":
        return (*_COMMISSIONED, *_PUT_OUT)
    return _PUT_OUT  # whatever the type: `record` reads them in all
