"""The headers of the capture API, as values: what a request's say, what an answer's are. Pure.

Sources: EPCIS 2.0 sections 12.2 (headers) and 12.6 (capture), and its OpenAPI; RFC 9110 (Content-Type, Content-Encoding);
draft-ietf-httpapi-idempotency-key-header-07.
"""

import re
from collections.abc import Mapping, Sequence
from email.message import Message
from enum import StrEnum
from typing import Final

from starlette.datastructures import Headers

from goodstrace.signatures import HEADER as SIGNATURE_HEADER
from services.collector.documents import Limits
from services.collector.preparing import BEHAVIOURS, PROCEED, ROLLBACK
from services.runtime import epcis_negotiation
from services.runtime.epcis_negotiation import SPOKEN, VERSIONS

EXTENSIONS: Final = "cbvmda=urn:epcglobal:cbv:mda:,gs1=https://ref.gs1.org/voc/"
"""The vocabularies beside EPCIS and CBV in which lots are looked for; any other is kept all the same."""
BEHAVIOUR_HEADER: Final = "GS1-Capture-Error-Behaviour"
KEY_HEADER: Final = "Idempotency-Key"
MAX_KEY_CHARS: Final = 255
JSON_TYPES: Final = ("application/ld+json", "application/json")
XML_TYPES: Final = ("application/xml", "text/xml")
DOCUMENT_TYPES: Final = (*JSON_TYPES, *XML_TYPES)
"""What documents and events come as. Their first character decides how they are read."""
STREAM_TYPE: Final = "application/x-ndjson"
NOT_ACCEPTABLE: Final = "NotAcceptableException"
UNSUPPORTED: Final = "UnsupportedMediaTypeException"
TAKEN: Final = ((1, 0), (1, 1), (1, 2), SPOKEN)
"""The versions of EPCIS and CBV in which documents are captured."""
_KEY: Final = re.compile(
    r'"([ !#-\[\]-~]{1,255})"|([!#-+\--:<-\[\]-~]{1,255})'
)  # a string of RFC 8941, or bare
_CHARSETS: Final = ("", "utf-8", "utf8", "us-ascii")


class BodyKind(StrEnum):
    """What a body is said to be."""

    DOCUMENT = "document"
    STREAM = "stream"


class RefusedHeaderError(Exception):
    """A header asks for what is not there, or cannot be read."""

    def __init__(
        self, status: int, kind: str, header: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Name the header and what is wrong, and the headers to answer with."""
        super().__init__(f"{header}: {detail}")
        self.status = status
        self.kind = kind
        self.header = header
        self.detail = f"{header}: {detail}"
        self.headers = (headers or {}).items()


def discovery(allow: str, limits: Limits | None = None) -> dict[str, str]:
    """Give the headers with which OPTIONS is answered; `limits` are told where events can be captured."""
    told = {
        "Allow": allow,
        **epcis_negotiation.DISCOVERY,
        "GS1-Extensions": EXTENSIONS,
    }
    if limits is not None:
        types = {"Accept-Post": ", ".join((*DOCUMENT_TYPES, STREAM_TYPE)), "Accept-Encoding": "gzip"}
        told |= {**limit_headers(limits), BEHAVIOUR_HEADER: "all", **types}
    return told


def limit_headers(limits: Limits) -> dict[str, str]:
    """Give the headers that tell how much a capture may hold."""
    return {
        "GS1-EPCIS-Capture-Limit": str(limits.events),
        "GS1-EPCIS-Capture-File-Size-Limit": str(limits.body),
    }


def negotiate(headers: Headers, answers: str, versions: Sequence[tuple[int, int]] = (SPOKEN,)) -> None:
    """Check that what a request wants to be answered with can be had. Raises: RefusedHeaderError (400 or 406).

    Args:
        headers: the request's.
        answers: the media type of what a good request is answered with; empty where that has no body.
        versions: those that a `-Version` may name; for captures TAKEN, since clients tell so what their document is.
    """
    unmet = epcis_negotiation.unmet_version(headers, versions)
    if unmet is not None and unmet.unreadable:
        raise RefusedHeaderError(400, "ValidationException", unmet.header, unmet.detail)
    if unmet is not None:
        raise RefusedHeaderError(406, NOT_ACCEPTABLE, unmet.header, unmet.detail, VERSIONS)
    if answers and epcis_negotiation.media_type(headers, (answers,)) is None:
        raise RefusedHeaderError(406, NOT_ACCEPTABLE, "Accept", f"the answer is {answers}")


def body_kind(headers: Headers, *, streams: bool) -> BodyKind:
    """Say what a request's body is, from its Content-Type; `streams` says whether lines are taken.

    Raises: RefusedHeaderError (415) for another type, and for a charset other than UTF-8.
    """
    parsed = Message()
    parsed["content-type"] = headers.get("content-type") or JSON_TYPES[0]
    kind = parsed.get_content_type()
    taken = (*DOCUMENT_TYPES, *((STREAM_TYPE,) if streams else ()))
    if kind in taken:
        charset = str(parsed.get_param("charset") or "").strip().lower()
        if charset in _CHARSETS:
            return BodyKind.STREAM if kind == STREAM_TYPE else BodyKind.DOCUMENT
        raise _unsupported(f"charset {charset[:40]!r} is not read: send UTF-8", taken)
    raise _unsupported(f"send one of {', '.join(taken)}", taken)


def _unsupported(detail: str, taken: tuple[str, ...]) -> RefusedHeaderError:
    return RefusedHeaderError(415, UNSUPPORTED, "Content-Type", detail, {"Accept-Post": ", ".join(taken)})


def is_compressed(headers: Headers) -> bool:
    """Say whether a request's body is gzip. Raises: RefusedHeaderError (415) for any other coding, and for several."""
    coding = headers.get("content-encoding", "").strip().lower()
    if coding in ("", "identity"):
        return False
    if coding in ("gzip", "x-gzip"):
        return True
    raise RefusedHeaderError(
        415, UNSUPPORTED, "Content-Encoding", "only gzip is read", {"Accept-Encoding": "gzip"}
    )


def error_behaviour(headers: Headers) -> str:
    """Read what one bad event does to the others. Raises: RefusedHeaderError (400)."""
    behaviour = headers.get(BEHAVIOUR_HEADER, ROLLBACK).strip().lower()
    if behaviour not in BEHAVIOURS:
        detail = f"must be {ROLLBACK} or {PROCEED}"
        raise RefusedHeaderError(400, "ValidationException", BEHAVIOUR_HEADER, detail)
    return behaviour


def idempotency_key(headers: Headers) -> str:
    """Read the Idempotency-Key, quoted as the draft has it or bare; empty where there is none.

    Raises: RefusedHeaderError (400) where it is there twice, empty, over 255 characters, or holds others than printable ASCII.
    """
    given = headers.getlist(KEY_HEADER)
    if not given:
        return ""
    match = _KEY.fullmatch(given[0].strip()) if len(given) == 1 else None
    if match is None:
        detail = (
            f'must be one string in quotation marks, such as "4f5d-1", of at most {MAX_KEY_CHARS} characters'
        )
        raise RefusedHeaderError(400, "ValidationException", KEY_HEADER, detail)
    return match[1] or match[2]


def signature(headers: Headers) -> str:
    """Read the signature over a bare event; empty where the request has none.

    Raises: RefusedHeaderError (400) where the header is there twice or empty: who sends it believes that the event is signed.
    """
    given = headers.getlist(SIGNATURE_HEADER)
    if not given:
        return ""
    text = given[0].strip()
    if len(given) > 1 or not text:
        detail = "must be one signature; leave it out where the event has none"
        raise RefusedHeaderError(400, "ValidationException", SIGNATURE_HEADER, detail)
    return text
