"""Numbers as they are written: whatever `collect` takes, as a float, goes through all stages, as a decimal."""

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from goodstrace.errors import EventContentError
from goodstrace.event_content import read_event
from goodstrace.exact_numbers import exact
from tests.unit.collector_builders import collected, document, items_of, object_event, run_all, wires
from tests.unit.xml_builders import event_element, xml_document

LOT = "urn:epc:class:lgtin:4012345.012345.998877"
BEYOND = "9" * 19
"""More digits than an exponent of `decimal` may have."""
NUMBERS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?(0{0,20}[0-9]{1,3}|[0-9]{15,25}))?", fullmatch=True
).filter(str.isascii)


def places(number: str) -> tuple[bytes, bytes]:
    """A document with a number wherever the standard has one, and in an extension: as JSON and as XML."""
    event = object_event(
        quantityList=[{"epcClass": LOT, "quantity": "@@", "uom": "KGM"}],
        sensorElementList=[{"sensorReport": [{"type": "gs1:Temperature", "value": "@@", "uom": "CEL"}]}],
        **{"ex:n": "@@"},
    )
    written = document(event, **{"@context": [{"ex": "https://ns.example.com/epcis/"}]})
    in_xml = xml_document(event_element(event))
    return written.replace(b'"@@"', number.encode()), in_xml.replace(b"@@", number.encode())


@given(NUMBERS)
@example(f"0e{BEYOND}")
@example(f"0.0E-{BEYOND}")
@example(f"1e-{BEYOND}")
@example(f"-1.5e-{BEYOND}")
@example(f"1e{BEYOND}")
@example("1E-999999999")
def test_a_number_that_collect_takes_goes_through_all_stages(number: str) -> None:
    for body in places(number):
        (sent,) = collected(body)
        output = run_all(wires([sent]))
        assert (output.faults, output.rejected) == ([], [])
        assert len(items_of(output)) == (sent.fault is None)


def test_a_number_below_every_float_is_taken_as_nothing() -> None:
    for body in places(f"1e-{BEYOND}"):
        output = run_all(wires(collected(body)))
        (item,) = items_of(output)
        assert item.facts.quantities["lot"][0].quantity == "0"


@pytest.mark.parametrize(
    ("text", "number"),
    [("1.50", Decimal("1.50")), ("1E+400", Decimal("1E+400")), (f"0e{BEYOND}", 0), (f"-1e-{BEYOND}", 0)],
)
def test_what_is_written_is_read_and_nothing_rounded(text: str, number: Decimal) -> None:
    assert exact(text) == number
    assert str(exact("1.50")) == "1.50"


def test_what_is_beyond_every_float_is_no_number() -> None:
    with pytest.raises(ValueError, match="not a number"):
        exact(f"1e{BEYOND}")
    with pytest.raises(EventContentError, match="not a number"):
        read_event(b'{"a": 1e%b}' % BEYOND.encode(), None, exact_numbers=True)
