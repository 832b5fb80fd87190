"""Sending documents to the collector and following their capture jobs. Source: EPCIS 2.0 section 12, /capture."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx

from goodstrace.closing import Closing
from goodstrace.connections import SYSTEM, Tls, http_client
from goodstrace.errors import CallError
from goodstrace.retrying import waits_s
from goodstrace.token_sources import TokenSource, as_source

JSON_TYPE: Final = "application/ld+json"
XML_TYPE: Final = "application/xml"
POLL_INTERVAL_S: Final = 0.1
_BOM: Final = b"\xef\xbb\xbf"
_SPACE: Final = b" \t\r\n"
_NOT_NOW: Final = str(int(httpx.codes.SERVICE_UNAVAILABLE))
_BROKEN: Final = (httpx.NetworkError, httpx.RemoteProtocolError)
_CUT_OFF: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError)  # the server ended in the middle of a handshake


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the collector refused a document (RFC 7807): what is wrong, and the faults with their places."""

    status: int
    title: str
    detail: str
    errors: tuple[dict[str, Any], ...]

    def lines(self) -> list[str]:
        """Give the problem as lines for people."""
        faults = [f"  {fault.get('pointer', '')}: {fault.get('detail', fault)}" for fault in self.errors]
        return [f"{self.status} {self.title}: {self.detail}", *faults]


@dataclass(frozen=True, slots=True)
class Job:
    """A capture job as the collector states it; `raw` is the JSON of `GET /epcis/v2/capture/{id}`, with its first 100 events."""

    location: str
    raw: dict[str, Any]

    @property
    def running(self) -> bool:
        """Whether some event of the capture has no verdict yet."""
        return bool(self.raw.get("running"))

    @property
    def success(self) -> bool:
        """Whether nothing was refused so far; once it has finished, every event will be sealed, or is a duplicate.

        A duplicate of what was refused counts as refused. What it is a duplicate of may be on its way still: then this turns false later.
        """
        return bool(self.raw.get("success"))

    @property
    def counts(self) -> dict[str, int]:
        """How many events have which verdict so far: accepted, duplicate (of one captured before) and rejected."""
        counts = self.raw.get("counts") or {}
        return {verdict: int(counts.get(verdict, 0)) for verdict in ("accepted", "duplicate", "rejected")}

    @property
    def errors(self) -> list[dict[str, Any]]:
        """What was refused, with reasons."""
        return list(self.raw.get("errors") or [])


class CaptureClient(Closing):
    """A client of the capture API at `url`, such as "http://127.0.0.1:8080"."""

    def __init__(
        self, url: str, *, timeout_s: float = 60, token: TokenSource | str | None = None, tls: Tls = SYSTEM
    ) -> None:
        """Prepare to send as the merchant whose API key or token it is; `timeout_s` bounds each request, and the wait over a rate.

        Raises: CredentialsError where it would go in clear text, or a file of `tls` cannot be used.
        """
        self._http = http_client(url, tls, timeout_s=timeout_s, source=as_source(token))
        self._timeout_s = timeout_s

    def send(self, document: bytes, *, error_behaviour: str = "rollback") -> Job | Problem:
        """Capture a document, JSON or XML (told by its first character): the job it became, acknowledged by Kafka, or why it was refused.

        Over the merchant's rate it waits for as long as it is told and sends again, and so it does for some seconds where the connection
        breaks or nobody listens, as while a collector is started again: what was taken already is then a duplicate of itself.
        Raises: CallError where the collector cannot be reached or cannot take anything now (5xx): try again later.
        """
        headers = {"Content-Type": _media_type(document), "GS1-Capture-Error-Behaviour": error_behaviour}
        response = self._request("POST", "/epcis/v2/capture", content=document, headers=headers)
        until = time.monotonic() + self._timeout_s
        while (wait_s := _told_to_wait(response)) and time.monotonic() + wait_s < until:
            time.sleep(wait_s)
            response = self._request("POST", "/epcis/v2/capture", content=document, headers=headers)
        if response.status_code == httpx.codes.ACCEPTED:
            return Job(response.headers["Location"], {"running": True})
        if response.is_server_error:
            raise CallError(str(response.status_code), response.text.strip())
        return problem_of(response)

    def job(self, location: str) -> Job:
        """Ask how a job stands. Raises: CallError."""
        response = self._request("GET", location)
        if not response.is_success:
            raise CallError(str(response.status_code), response.text.strip())
        return Job(location, response.json())

    def wait(
        self, job: Job, *, deadline_s: float = 60, on_progress: Callable[[Job], None] | None = None
    ) -> Job:
        """Follow a job until each of its events has a verdict; a collector that cannot tell it now (503) is asked again.

        Raises: CallError, also when the deadline is over.
        """
        until = time.monotonic() + deadline_s
        while True:
            try:
                job = self.job(job.location)
            except CallError as error:
                if error.code != _NOT_NOW or time.monotonic() > until:
                    raise
            else:
                if on_progress is not None:
                    on_progress(job)
                if not job.running:
                    return job
            if time.monotonic() > until:
                raise CallError(
                    "DEADLINE_EXCEEDED", f"the capture {job.location} still runs after {deadline_s:g} s"
                )
            time.sleep(POLL_INTERVAL_S)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        waits = waits_s()
        while True:
            try:
                return self._http.request(method, path, **arguments)
            except httpx.HTTPError as error:
                # What ran out of time may still be under way, and what is wrong with the request stays wrong.
                wait_s = next(waits, None) if isinstance(error, _BROKEN) and not _is_lasting(error) else None
                if wait_s is None:
                    raise CallError("UNAVAILABLE", f"{self._http.base_url}: {error}") from error
            time.sleep(wait_s)


def _is_lasting(error: BaseException) -> bool:
    """Say whether a connection failed for what stays as it is: a certificate that is not believed, or a host that nobody knows."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return not isinstance(cause, _CUT_OFF)
        if isinstance(cause, socket.gaierror):
            return cause.errno != socket.EAI_AGAIN
        cause = cause.__cause__ or cause.__context__
    return False


def _media_type(document: bytes) -> str:
    return XML_TYPE if document.removeprefix(_BOM).lstrip(_SPACE)[:1] == b"<" else JSON_TYPE


def _told_to_wait(response: httpx.Response) -> int:
    """Give the seconds after which to send again; 0 where that is not asked."""
    text = response.headers.get("Retry-After", "")
    limited = response.status_code == httpx.codes.TOO_MANY_REQUESTS
    return int(text) if limited and text.isascii() and text.isdigit() else 0


def problem_of(response: httpx.Response) -> Problem:
    """Read a refusal; what is no RFC 7807 problem is told by its status and text."""
    try:
        body = response.json()
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    return Problem(
        status=response.status_code,
        title=str(body.get("title", response.reason_phrase)),
        detail=str(body.get("detail", response.text[:200])),
        errors=tuple(fault for fault in body.get("errors", ()) if isinstance(fault, dict)),
    )
