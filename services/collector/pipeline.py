"""What the stages do with a record, by the pipeline version that `collect` stamped on it.

A version never changes once records carry it: a replay of them must give the same entries. A stage that shall do something new
does it under a field here, which versions of before do not have.
"""

from types import MappingProxyType
from typing import Final

import msgspec

from goodstrace.facts import PIPELINE_VERSION
from services.runtime.errors import EnvelopeError


class Pipeline(msgspec.Struct, frozen=True):
    """One version.

    Attributes:
        version: as stamped, in order of time.
        steps: the table of steps that events are classified by, where the operator named none.
        rules: the rules that come with the program and are tried on each event, by version; empty: none.
        read_storms: `summarise` links a read of the same things at the same place to the first of its run.
        late_signatures: `summarise` lets a signed event pass that came before without a signature.
        sensors: `record` counts sensor reports, and names the devices that made them.
    """

    version: str
    steps: str
    rules: str
    read_storms: bool
    late_signatures: bool = False
    sensors: bool = False


_VERSIONS: Final = MappingProxyType(
    {
        each.version: each
        for each in (
            Pipeline("1", steps="1", rules="", read_storms=False),
            Pipeline("2", steps="2", rules="1", read_storms=True),
            Pipeline("3", steps="2", rules="1", read_storms=True, late_signatures=True, sensors=True),
            Pipeline("4", steps="2", rules="2", read_storms=True, late_signatures=True, sensors=True),
        )
    }
)
VERSIONS: Final = tuple(_VERSIONS)
"""All that records may be stamped with, in order of time."""
CURRENT: Final = _VERSIONS[PIPELINE_VERSION]
"""What `collect` stamps, and what `replay stage` runs again."""


def pipeline_of(version: str) -> Pipeline:
    """Give the pipeline of a stamped version.

    Raises: EnvelopeError for one that this program does not know: it is older than the record, and would seal it wrongly.
    """
    known = _VERSIONS.get(version)
    if known is None:
        newest = CURRENT.version
        raise EnvelopeError(f"pipeline version {version!r} is unknown here, where {newest!r} is the newest")
    return known
