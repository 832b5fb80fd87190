"""Arrays and objects in EPCIS 2.0 events: what they must have, and which of their other members are faults. Pure.

Extensions are taken at any level. A member without a prefix that the standard does not know is a fault where an object is closed, elsewhere
where it is a near miss of a known one that is not there: neither a misspelt `quantity` nor a misspelt `bizStep` must vanish.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from services.collector.errors import Fault
from services.collector.misspelling import Spelling
from services.collector.strict_json import pointer
from services.collector.value_checks import Check


def list_of(item: Check) -> Check:
    """An array of these."""

    def check(value: object) -> Fault | None:
        if type(value) is not list:
            return Fault("", "must be an array")
        for index, each in enumerate(value):
            fault = item(each)
            if fault is not None:
                return fault.under(f"/{index}")
        return None

    return check


def _is_bare(name: str) -> bool:
    return ":" not in name and name[:1] not in ("@", "_")


def _unknown(name: str, meant: Sequence[str]) -> Fault:
    told = f": {' or '.join(f'`{each}`' for each in meant)} is meant?" if meant else ""
    return Fault(pointer(name), f"is no member that the standard knows, and has no prefix{told}")


def _missing(name: str, value: Mapping[str, object], spelling: Spelling) -> Fault:
    for other in value:
        if _is_bare(other) and name in (meant := spelling.meant(other, value)):
            return _unknown(other, meant)
    return Fault(pointer(name), "is missing")


def object_of(
    fields: Mapping[str, Check],
    *required: str,
    closed: bool = False,
    elsewhere: Mapping[str, Check] = MappingProxyType({}),
) -> Check:
    """An object with these members. Others need a prefix (or `@`, or `_` as comments have) where it is `closed`, else where they are near misses.

    elsewhere: members that the standard has in like objects and not in this one, as they must be where they are here all the same.
    """
    spelling = Spelling(fields)
    checks = {**elsewhere, **fields}

    def check(value: object) -> Fault | None:
        if type(value) is not dict:
            return Fault("", "must be an object")
        for name in required:
            if name not in value:
                return _missing(name, value, spelling)
        for name, each in value.items():
            field = checks.get(name)
            if field is not None:
                fault = field(each)
                if fault is not None:
                    return fault.under(pointer(name))
            elif (closed or name != "type") and _is_bare(name):  # `check_event` knows the type of an event
                meant = spelling.meant(name, value)
                if meant or closed:
                    return _unknown(name, meant)
        return None

    return check
