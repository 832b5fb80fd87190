"""The pipeline version that `collect` stamps decides what later stages do with a record."""

import pytest

from goodstrace.facts import PIPELINE_VERSION
from services.collector.flow import StageName, from_wire
from services.collector.pipeline import CURRENT, pipeline_of
from services.runtime.errors import EnvelopeError
from tests.unit.collector_builders import WHOLE, collected, document, fresh_state, object_event, wires
from tests.unit.collector_builders import stamped as restamp


def stamped(version: str) -> bytes:
    """A collected event as another version of the program stamped it."""
    return restamp(wires(collected(document(object_event()))), version)[0]


def test_collect_stamps_the_current_version() -> None:
    record = from_wire(wires(collected(document(object_event())))[0]).record
    assert record.pipeline_version == CURRENT.version == PIPELINE_VERSION


def test_a_version_of_later_stops_the_stages_rather_than_being_sealed_wrongly() -> None:
    with pytest.raises(EnvelopeError, match="'99' is unknown"):
        pipeline_of("99")
    with pytest.raises(EnvelopeError, match="'99' is unknown"):
        WHOLE.run(fresh_state(), [stamped("99")])


@pytest.mark.parametrize("version", ["1", "99"])
def test_stages_run_again_take_every_record_as_one_of_today(version: str) -> None:
    state = fresh_state()
    state.rerun = True
    output = WHOLE.run(state, [stamped(version)])
    item = from_wire(output.passed[StageName.STORE][0])
    assert item.record.pipeline_version == item.facts.pipeline == CURRENT.version
