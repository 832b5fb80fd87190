"""What `/openapi.json` says of the capture API: every parameter, header, body and status that there is."""

from typing import Any, Final

from goodstrace.signatures import HEADER as SIGNATURE_HEADER
from goodstrace.signatures import MAX_CHARACTERS
from services.collector.headers import (
    BEHAVIOUR_HEADER,
    DOCUMENT_TYPES,
    KEY_HEADER,
    MAX_KEY_CHARS,
    STREAM_TYPE,
    XML_TYPES,
)
from services.collector.job_views import (
    EVENTS_PER_PAGE,
    JOBS_PER_PAGE,
    MAX_EVENTS_PER_PAGE,
    MAX_JOBS_PER_PAGE,
    MERCHANT,
    NEXT,
    PER_PAGE,
)
from services.collector.jobs import ACCEPTED, DUPLICATE, REJECTED
from services.collector.preparing import BEHAVIOURS, ROLLBACK
from services.collector.problems import PROBLEM_TYPE
from services.runtime.epcis_negotiation import VERSION_HEADERS, VERSION_PATTERN

Described = dict[str, Any]

TEXT: Final[Described] = {"type": "string"}
NUMBER: Final[Described] = {"type": "integer", "minimum": 0}
_FLAG: Final[Described] = {"type": "boolean"}
_TIME: Final[Described] = {"type": "string", "format": "date-time"}
_VERSION: Final[Described] = {"type": "string", "pattern": f"^{VERSION_PATTERN}$"}


def an_object(required: tuple[str, ...] = (), **properties: Described) -> Described:
    """Describe an object and the members that it must have."""
    return {"type": "object", "required": list(required), "properties": properties}


def array(items: Described) -> Described:
    """Describe an array."""
    return {"type": "array", "items": items}


_PROBLEM: Final = an_object(
    ("type", "title", "status", "detail"),
    type=TEXT,
    title=TEXT,
    status=NUMBER,
    detail=TEXT,
    header={**TEXT, "description": "The request's header that is concerned."},
    parameter={**TEXT, "description": "The query parameter that is concerned."},
    errors={
        **array(an_object(("pointer", "detail"), pointer=TEXT, detail=TEXT, event=NUMBER)),
        "description": "The faults: JSON pointer (RFC 6901) from the top of what was sent, and the event's number, from 0.",
    },
)
_VERDICT: Final = an_object(
    ("index", "verdict", "recordID"),
    index={**NUMBER, "description": "The event's number in the capture, from 0."},
    verdict={"enum": [ACCEPTED, DUPLICATE, REJECTED]},
    recordID=TEXT,
    eventID=TEXT,
    eventHash={**TEXT, "description": "The receipt: the event hash of CBV 2.0."},
    flags=array(TEXT),
    stage=TEXT,
    reason=TEXT,
    detail=TEXT,
    pointer=TEXT,
    firstRecordID={
        **TEXT,
        "description": "Of a duplicate: the record as which the event was captured before; its verdict counts for both.",
    },
    sealed={
        **an_object(("log", "index"), log=TEXT, index=NUMBER),
        "description": "Where the record is sealed; of a duplicate, where its first one is.",
    },
)
_JOB_FIELDS: Final[dict[str, Described]] = {
    "captureID": TEXT,
    "createdAt": _TIME,
    "finishedAt": _TIME,
    "running": _FLAG,
    "success": {
        **_FLAG,
        "description": "Nothing was refused so far; a duplicate counts as what it is a duplicate of.",
    },
    "captureErrorBehaviour": {"enum": list(BEHAVIOURS)},
    "errors": array(an_object(("type", "title"), type=TEXT, title=TEXT, detail=TEXT, pointer=TEXT)),
    "eventCount": NUMBER,
    "counts": an_object(accepted=NUMBER, duplicate=NUMBER, rejected=NUMBER),
}
_JOB_REQUIRED: Final = tuple(name for name in _JOB_FIELDS if name != "finishedAt")
_JOBS: Final = array(an_object(_JOB_REQUIRED, **_JOB_FIELDS))
_JOB: Final = an_object((*_JOB_REQUIRED, "events"), **_JOB_FIELDS, events=array(_VERDICT))
_LINE: Final = an_object(
    line={**NUMBER, "description": "The number of the line, from 1."},
    captureID=TEXT,
    recordID=TEXT,
    eventID=TEXT,
    eventHash=TEXT,
    events=array(an_object(("recordID",), recordID=TEXT, eventID=TEXT, eventHash=TEXT, problem=_PROBLEM)),
    problem=_PROBLEM,
)
_COLLECTION: Final = an_object(("type", "member"), type=TEXT, member=array(TEXT))


def _header(name: str, schema: Described, description: str) -> Described:
    return {"name": name, "in": "header", "schema": schema, "description": description}


def _query(name: str, schema: Described, description: str) -> Described:
    return {"name": name, "in": "query", "schema": schema, "description": description}


VERSIONS: Final = [
    _header(
        name,
        _VERSION,
        "Refused with 406 where it leaves out what is spoken here, version 2.0; captures may name 1.0 to 1.2 too.",
    )
    for name in VERSION_HEADERS
]
_BEHAVIOUR: Final = _header(
    BEHAVIOUR_HEADER,
    {"type": "string", "enum": list(BEHAVIOURS), "default": ROLLBACK},
    "rollback: a bad event refuses the whole document (of a stream: the line). proceed: the good ones are captured.",
)
_KEY: Final = _header(
    KEY_HEADER,
    {"type": "string", "pattern": rf'^"[a-zA-Z0-9_.:/-]{{1,{MAX_KEY_CHARS}}}"$'},
    "Sent again with the same body, the answer is the same capture; with another body it is refused. Not for streams.",
)
_SIGNATURE: Final = _header(
    SIGNATURE_HEADER,
    {"type": "string", "maxLength": MAX_CHARACTERS},
    "Over a bare event: a detached JWS of the merchant's. See docs/signatures.md.",
)
_TOKEN: Final = _query(NEXT, TEXT, "From the `Link` of the page before; bound to this resource and merchant.")
CAPTURE_ID: Final[Described] = {"name": "capture_id", "in": "path", "required": True, "schema": TEXT}

_GOOD_HEADERS: Final = ("GS1-EPCIS-Version", "GS1-CBV-Version")
_PAGE_HEADERS: Final = (*_GOOD_HEADERS, "Link", "GS1-Next-Page-Token-Expires")
REFUSALS: Final[dict[int, str]] = {
    400: "Not as it must be: `errors`, `header` or `parameter` say what and where. Nothing was kept.",
    401: "No good API key or token; `WWW-Authenticate` says what is wanted. Nothing was kept.",
    403: "The merchant is suspended, or may not speak for goods at the places in `errors`. Nothing was kept.",
    404: "There is no such resource, or none that the caller may see.",
    405: "Not with this method: see `Allow`.",
    406: "The answer cannot be in the version or media type that is wanted: see `header`.",
    408: "The body did not come within a minute. Nothing was kept.",
    410: "Kafka no longer has it.",
    409: "The first request of the Idempotency-Key is still under way: try again after Retry-After.",
    413: "Over a limit of size, inflated or not. Nothing was kept.",
    415: "Not a media type, charset or coding that is read: see `header`.",
    422: "The Idempotency-Key came before with another request. Nothing was kept.",
    429: "Over the merchant's rate; `Retry-After` is in seconds. Nothing was kept.",
    503: "Cannot do that now: try again after Retry-After. What was kept is recognised as a duplicate.",
}


def good(
    description: str, content: dict[str, Described], named: tuple[str, ...] = _GOOD_HEADERS
) -> Described:
    """Describe an answer: its bodies by media type, and its headers."""
    return {
        "description": description,
        "headers": {name: {"schema": TEXT} for name in named},
        "content": {name: {"schema": schema} for name, schema in content.items()},
    }


def refusals(*statuses: int) -> dict[int | str, Described]:
    """Describe refusals by their statuses."""
    return {
        status: {"description": REFUSALS[status], "content": {PROBLEM_TYPE: {"schema": _PROBLEM}}}
        for status in statuses
    }


_LOCATED: Final = good(
    "Every event is durable; `Location` is the capture job.", {}, (*_GOOD_HEADERS, "Location")
)
_STREAMED: Final = good(
    "Of a stream: a verdict for each line, each once its line is durable. Where the stream ends by an error, the last line has"
    " `problem` and `linesAnswered`.",
    {STREAM_TYPE: _LINE},
)


def _captures(types: tuple[str, ...]) -> Described:
    return {
        "requestBody": {
            "required": True,
            "content": {
                name: {"schema": TEXT if name in XML_TYPES else {"type": "object"}} for name in types
            },
        },
        "parameters": [_BEHAVIOUR, _KEY, _SIGNATURE, *VERSIONS],
    }


CAPTURE: Final = _captures(DOCUMENT_TYPES)
STREAM_BODY: Final[Described] = {
    STREAM_TYPE: {"schema": {**TEXT, "description": "An event or document a line."}}
}
CAPTURE["requestBody"]["content"] |= STREAM_BODY
CAPTURE_ANSWERS: Final = {
    202: _LOCATED,
    200: _STREAMED,
    **refusals(400, 401, 403, 406, 408, 409, 413, 415, 422, 429, 503),
}
EVENTS: Final = _captures(DOCUMENT_TYPES)
EVENTS_ANSWERS: Final = {202: _LOCATED, **refusals(400, 401, 403, 406, 408, 409, 413, 415, 422, 429, 503)}
LIST: Final[Described] = {
    "parameters": [
        _query(PER_PAGE, {"type": "integer", "minimum": 1, "maximum": MAX_JOBS_PER_PAGE, "default": JOBS_PER_PAGE}, "Jobs."),
        _query(MERCHANT, NUMBER, "Whose jobs: for operators."),
        _TOKEN,
        *VERSIONS,
    ],
}  # fmt: skip
LIST_ANSWERS: Final = {
    200: good("The merchant's jobs, newest first.", {"application/json": _JOBS}, _PAGE_HEADERS),
    **refusals(400, 401, 403, 406, 503),
}
JOB: Final[Described] = {
    "parameters": [
        CAPTURE_ID,
        _query(
            PER_PAGE,
            {"type": "integer", "minimum": 1, "maximum": MAX_EVENTS_PER_PAGE, "default": EVENTS_PER_PAGE},
            "Events.",
        ),
        _TOKEN,
        *VERSIONS,
    ],
}
JOB_ANSWERS: Final = {
    200: good("The job, and a page of its events.", {"application/json": _JOB}, _PAGE_HEADERS),
    **refusals(400, 401, 403, 404, 406, 503),
}
ROOT_ANSWERS: Final = {
    200: good("The resources that there are.", {"application/json": _COLLECTION}),
    **refusals(400, 406),
}
DISCOVERY_ANSWERS: Final[dict[int | str, Described]] = {
    204: {
        "description": "What is spoken here, in headers; where events are captured with the limits.",
        "headers": {name: {"schema": TEXT} for name in ("Allow", *VERSION_HEADERS, "GS1-Vendor-Version")},
    },
    **refusals(400, 406),
}
