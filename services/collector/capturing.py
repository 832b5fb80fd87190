"""`POST /epcis/v2/capture` and `/epcis/v2/events`: from HTTP to the intake. The only maker of its requests at this edge."""

import msgspec
from fastapi import Request, Response

from goodstrace.signatures import HEADER as SIGNATURE_HEADER
from goodstrace.signatures import MEMBER
from services.collector import bodies, headers
from services.collector.headers import BodyKind, RefusedHeaderError
from services.collector.idempotency import Idempotency
from services.collector.intake import Intake
from services.collector.metrics import Metrics
from services.collector.preparing import Request as CaptureRequest
from services.collector.registry.rates import rate_headers
from services.collector.streaming import StreamedAnswer, answers
from services.runtime.access.current import principal
from services.runtime.epcis_negotiation import ANSWERED


class Edge(msgspec.Struct, frozen=True):
    """What captures by HTTP go through; a body must have come within `body_timeout_s` seconds, or a stream's next bytes."""

    intake: Intake
    idempotency: Idempotency
    metrics: Metrics
    body_timeout_s: float


async def capture(request: Request, edge: Edge, *, bare: bool) -> Response:
    """Capture the body of a request: 202 and its job, or for a stream 200 and a verdict for each line.

    Raises: what services.collector.problems.of_error answers.
    """
    told, gate = request.headers, edge.intake.gate
    caller = await gate.admit(principal())
    kind = headers.body_kind(told, streams=not bare)
    signature = headers.signature(told)
    wanted = CaptureRequest(
        caller,
        b"",
        headers.error_behaviour(told),
        told.get("traceparent", ""),
        bare,
        signatures=(signature,) if signature else (),
    )
    key = headers.idempotency_key(told)
    if kind is BodyKind.STREAM:
        return await _stream(request, edge, wanted, key)
    headers.negotiate(told, "", headers.TAKEN)
    limits = edge.intake.limits
    limits = msgspec.structs.replace(limits, body=min(limits.body, caller.body_bytes))
    async with bodies.whole(request, limits, edge.intake.hold, edge.body_timeout_s) as body:
        whole = msgspec.structs.replace(wanted, body=body)
        if key:
            made = await edge.idempotency.capture(whole, key)
        else:
            made = (await edge.intake.capture(whole)).id
    location = {"Location": f"/epcis/v2/capture/{made}"}
    standing = gate.left(caller)
    rates = rate_headers(standing) if standing else {}
    return Response(status_code=202, headers={**ANSWERED, **rates, **location})


async def _stream(request: Request, edge: Edge, wanted: CaptureRequest, key: str) -> Response:
    headers.negotiate(request.headers, headers.STREAM_TYPE, headers.TAKEN)
    if key:
        detail = "lines are recognised by their content, when a stream is sent again: leave it out"
        raise RefusedHeaderError(400, "ValidationException", headers.KEY_HEADER, detail)
    if wanted.signatures:
        detail = f"it is over one bare event: in a stream documents have the member {MEMBER}"
        raise RefusedHeaderError(400, "ValidationException", SIGNATURE_HEADER, detail)
    chunks = bodies.endless(request, edge.body_timeout_s)
    told = answers(edge.intake, wanted, chunks, edge.metrics.stream_lines.inc)
    first = await anext(told, b"")  # what is wrong from the start is still told by the status
    return StreamedAnswer(first, told, edge.body_timeout_s)
