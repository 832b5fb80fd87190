"""A little reader of simulated events, written apart from the generator: keys, corrections, and the walk upstream."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

# One row per GS1 key: URN pattern, Digital Link pattern, and the link that both stand for.
SPELLINGS = [
    (r"urn:epc:id:sgtin:(\d{7})\.(\d)(\d{5})\.([0-9A-Z]{1,20})", "01/{1}{0}{2}{check}/21/{3}", (1, 0, 2)),
    (r"urn:epc:class:lgtin:(\d{7})\.(\d)(\d{5})\.([0-9A-Z]{1,20})", "01/{1}{0}{2}{check}/10/{3}", (1, 0, 2)),
    (r"urn:epc:id:sscc:(\d{7})\.(\d)(\d{9})", "00/{1}{0}{2}{check}", (1, 0, 2)),
    (r"urn:epc:id:sgln:(\d{7})\.(\d{5})\.0", "414/{0}{1}{check}", (0, 1)),
    (r"urn:epc:id:sgln:(\d{7})\.(\d{5})\.([0-9A-Z]{2,20})", "414/{0}{1}{check}/254/{2}", (0, 1)),
    (r"urn:epc:id:pgln:(\d{7})\.(\d{5})", "417/{0}{1}{check}", (0, 1)),
    (r"urn:epc:id:gdti:(\d{7})\.(\d{5})\.([0-9A-Z]{1,17})", "253/{0}{1}{check}{2}", (0, 1)),
    (r"urn:epc:id:giai:(\d{7})\.([0-9A-Z]{1,23})", "8004/{0}{1}", ()),
]
LINKS = re.compile(
    r"https://id\.gs1\.org/(?:01/(\d{14})(?:/10/[0-9A-Z]{1,20})?(?:/21/[0-9A-Z]{1,20})?|00/(\d{18})|"
    r"41[47]/(\d{13})(?:/254/[0-9A-Z]{1,20})?|253/(\d{13})[0-9A-Z]{1,17}|8004/(952)[0-9A-Z]{1,27})"
)

Json = dict[str, Any]


def weighted_sum(digits: str) -> int:
    """Zero modulo 10 exactly when the last digit checks the ones before it."""
    return sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(digits[::-1]))


def canonical(uri: str) -> str:
    """Give the link of an identifier; fails on whatever is not a well-formed GS1 key of a made-up company."""
    for pattern, link, checked in SPELLINGS:
        match = re.fullmatch(pattern, uri)
        if match:
            groups = match.groups()
            assert groups[0].startswith("952"), uri
            check = -weighted_sum("".join(groups[i] for i in checked) + "0") % 10
            return "https://id.gs1.org/" + link.format(*groups, check=check)
    match = LINKS.fullmatch(uri)
    assert match, uri
    number = next(group for group in match.groups() if group)
    assert "952" in number[:4], uri
    assert number == "952" or weighted_sum(number) % 10 == 0, uri
    return re.sub(r"/10/[0-9A-Z]+(?=/21/)", "", uri)


def content_of(event: Json) -> str:
    return json.dumps({k: v for k, v in event.items() if k != "errorDeclaration"}, sort_keys=True)


def standing(events: list[Json]) -> list[Json]:
    """Leave out what was declared in error, and the declarations."""
    cancelled = {content_of(event) for event in events if "errorDeclaration" in event}
    return [event for event in events if content_of(event) not in cancelled]


def classes_in(event: Json, name: str) -> list[str]:
    return [canonical(element["epcClass"]) for element in event.get(name, [])]


def keys_in(event: Json, name: str) -> list[str]:
    return [canonical(epc) for epc in event.get(name, [])]


class Origins(NamedTuple):
    """What the oracle knows: runs that made a key, inputs of each run, lot of each item, keys made of nothing."""

    made_by: dict[str, str]
    inputs: dict[str, set[str]]
    lot_of: dict[str, str]
    raw: set[str]


def origins(events: list[Json]) -> Origins:
    found = Origins({}, defaultdict(set), {}, set())
    for event in events:
        if event["type"] == "TransformationEvent":
            run = canonical(event["transformationID"])
            outputs = classes_in(event, "outputQuantityList") + keys_in(event, "outputEPCList")
            found.inputs[run].update(classes_in(event, "inputQuantityList"))
            found.made_by.update(dict.fromkeys(outputs, run))
        elif event["type"] == "ObjectEvent" and event["action"] == "ADD":
            found.raw.update(classes_in(event, "quantityList"))
            for item in keys_in(event, "epcList"):
                found.lot_of[item] = item.partition("/21/")[0] + "/10/" + event["ilmd"]["cbvmda:lotNumber"]
    return found


def levels_above(item: str, known: Origins) -> list[set[str]]:
    """Walk from an item to what is made of nothing; a set of inputs for each level, nearest first."""
    levels: list[set[str]] = []
    frontier = {known.lot_of.get(item, item)}
    while runs := {known.made_by[key] for key in frontier if key in known.made_by}:
        assert all(key in known.made_by or key in known.raw for key in frontier)
        frontier = set().union(*(known.inputs[run] for run in runs))
        assert frontier, runs
        levels.append(frontier)
    assert frontier <= known.raw
    return levels


def sold_items(events: list[Json]) -> set[str]:
    return {
        item
        for event in events
        if event["bizStep"] == "retail_selling" and event["disposition"] == "retail_sold"
        for item in keys_in(event, "epcList")
    }


def strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings_in(part)
