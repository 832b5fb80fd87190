"""Taking personal data out of an event's bytes, so that all else stays as it was sent. Pure."""

from goodstrace.event_content import is_xml
from goodstrace.personal_part import Personal, cut_out
from services.collector.personal import json_cuts, xml_cuts
from services.collector.personal.finding import Path
from services.collector.personal.table import Table
from services.collector.strict_json import pointer


def take_out(content: bytes, paths: tuple[Path, ...], table: Table) -> tuple[bytes, Personal]:
    """Take what was found out of an event.

    Args:
        content: the event's exact bytes, JSON or XML, as they were read.
        paths: where `find` found something in its JSON form.
        table: by which.
    Returns: JSON or XML that says everything else, byte for byte as it was, and what was taken out. Whether it is an event still, and
        whether anything stayed (XML can be written in more ways than can be foreseen), is to be seen by reading and looking again.
    """
    found = xml_cuts.spans(content, table) if is_xml(content) else json_cuts.spans(content, paths)
    left, cuts = cut_out(content, found)
    return left, Personal(cuts, tuple(pointer(*path) for path in paths), table.name)
