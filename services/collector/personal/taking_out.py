"""Taking personal data out of an event: from its bytes, so that all else stays as it was sent. Pure."""

from typing import Final

import msgspec

from goodstrace.event_content import is_xml
from goodstrace.personal_part import Personal, cut_out
from services.collector.personal import json_cuts, xml_cuts
from services.collector.personal.finding import Path
from services.collector.personal.table import Table
from services.collector.strict_json import pointer

_SHOWN: Final = 5


class Taken(msgspec.Struct, frozen=True):
    """What became of an event: its bytes without what was taken out, and that."""

    content: bytes
    personal: Personal


def take_out(content: bytes, paths: tuple[Path, ...], table: Table) -> Taken:
    """Take what was found out of an event.

    Args:
        content: the event's exact bytes, JSON or XML, as they were read.
        paths: where `find` found something in its JSON form.
        table: by which.
    Returns: JSON or XML that says everything else, byte for byte as it was. Whether it is an event still, and whether anything
        stayed (XML can be written in more ways than can be foreseen), is to be seen by reading and looking again.
    """
    found = xml_cuts.spans(content, table) if is_xml(content) else json_cuts.spans(content, paths)
    left, cuts = cut_out(content, found)
    return Taken(left, Personal(cuts, tuple(pointer(*path) for path in paths), table.name))


def places(paths: tuple[Path, ...]) -> str:
    """Name where something was found, for people: the first few places."""
    shown = ", ".join(pointer(*path) for path in paths[:_SHOWN])
    return f"{shown} and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else shown
