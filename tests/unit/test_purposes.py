"""Whatever is recorded as a look says why it is made: its request takes a purpose."""

import pytest
from google.protobuf.descriptor import MethodDescriptor

from goodstrace.audit.v1 import audit_pb2, watch_pb2
from goodstrace.query.v1 import completeness_pb2, trace_pb2

METHODS = [
    method
    for services in (audit_pb2, watch_pb2, trace_pb2, completeness_pb2)
    for service in services.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if "browse_id" in method.output_type.fields_by_name
]


def test_there_are_calls_that_are_looks() -> None:
    assert {"ListBrowses", "GetStatistics", "CountGoodsBrowses", "StreamAlerts", "Trace"} <= {
        each.name for each in METHODS
    }


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_call_that_is_a_look_takes_a_purpose_and_gives_a_receipt(method: MethodDescriptor) -> None:
    asked = method.input_type
    inner = [each.message_type for each in asked.fields if each.message_type and not each.is_repeated]
    assert any("purpose" in each.fields_by_name for each in (asked, *inner))  # StreamTrace has a TraceRequest
    assert "receipt" in method.output_type.fields_by_name
