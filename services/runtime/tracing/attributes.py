"""What a span may say, as closed as the labels of metrics: the names here and no others.

None of them may hold what somebody sent: no key of goods, no event ID (it is a merchant's), no user, path, query, address or text of
an error. Record, capture and browse IDs are random bytes of our own, by which a trace is found from an answer.

Source: OpenTelemetry semantic conventions for HTTP, RPC and messaging (Kafka).
"""

from collections.abc import Mapping
from enum import StrEnum


class Attribute(StrEnum):
    """The name of something that a span says."""

    ERROR = "error.type"
    HTTP_METHOD = "http.request.method"
    HTTP_ROUTE = "http.route"
    HTTP_STATUS = "http.response.status_code"
    RPC_SYSTEM = "rpc.system.name"
    RPC_METHOD = "rpc.method"
    RPC_STATUS = "rpc.response.status_code"
    MESSAGING_SYSTEM = "messaging.system"
    OPERATION = "messaging.operation.name"
    OPERATION_TYPE = "messaging.operation.type"
    DESTINATION = "messaging.destination.name"
    MESSAGES = "messaging.batch.message_count"
    LEFT_OUT = "goodstrace.contexts_left_out"
    CAPTURE = "goodstrace.capture.id"
    RECORD = "goodstrace.record.id"
    BROWSE = "goodstrace.browse.id"
    EVENTS = "goodstrace.events"
    REFUSED = "goodstrace.events.refused"
    REASON = "goodstrace.reason"
    LOG = "goodstrace.log"
    HEIGHT = "goodstrace.block.height"
    SIZE = "goodstrace.log.size"


Value = str | int
Attributes = Mapping[Attribute, Value]


def messaging(operation: str, kind: str, topic: str, messages: int = 0) -> dict[Attribute, Value]:
    """Say what is done with messages of a topic; `kind` is of the conventions: create, send, receive, process."""
    told: dict[Attribute, Value] = {
        Attribute.MESSAGING_SYSTEM: "kafka",
        Attribute.OPERATION: operation,
        Attribute.OPERATION_TYPE: kind,
        Attribute.DESTINATION: topic,
    }
    return {**told, Attribute.MESSAGES: messages} if messages else told
