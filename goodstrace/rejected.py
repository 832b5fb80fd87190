"""What the collector refused: list it, read it, send it again. See docs/rejected.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx

from goodstrace.capture import JSON_TYPE, Problem, problem_of
from goodstrace.closing import Closing
from goodstrace.connections import SYSTEM, Tls, http_client
from goodstrace.errors import CallError
from goodstrace.token_sources import TokenSource, as_source

PATH: Final = "/rejections/v1"
_PAGE: Final = 200
_REFUSED_AGAIN: Final = (400, 403, 409, 410, 413)


@dataclass(frozen=True, slots=True)
class Resubmitted:
    """A rejection that was sent again: `location` is the capture job, `records` the record IDs of its events."""

    rejection: str
    location: str
    records: tuple[str, ...]


class RejectedClient(Closing):
    """A client of the collector's rejections at `url`, such as "http://127.0.0.1:8080"."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 60,
        token: TokenSource | str | None = None,
        transport: httpx.BaseTransport | None = None,
        tls: Tls = SYSTEM,
    ) -> None:
        """Prepare to ask; `timeout_s` bounds each request. `transport` takes the place of the network.

        `token`: of a merchant (an API key or a token), who sees its own; or of an operator, who sees everyone's.
        Raises: CredentialsError where it would go in clear text, or a file of `tls` cannot be used.
        """
        self._http = http_client(url, tls, timeout_s=timeout_s, source=as_source(token), transport=transport)

    def list(
        self, *, state: str = "", reason: str = "", capture: str = "", limit: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Give rejections, newest first, page after page: those that are open, unless asked otherwise.

        Args:
            state: open, resubmitted or settled.
            reason: INVALID, FORBIDDEN, TOO_LARGE, FAULT or DUPLICATE, which are listed only if asked for.
            capture: all of one capture, by its ID.
            limit: how many at the most; None for all.
        Raises: CallError.
        """
        asked = {"state": state, "reason": reason, "capture": capture}
        wanted: dict[str, str | int] = {name: value for name, value in asked.items() if value}
        left = limit
        while left is None or left > 0:
            wanted["limit"] = _PAGE if left is None else min(_PAGE, left)
            page = self._get(PATH, wanted).json()
            yield from page["rejections"]
            left = None if left is None else left - len(page["rejections"])
            if "nextPageToken" not in page:
                return
            wanted["pageToken"] = page["nextPageToken"]

    def show(self, record: str) -> dict[str, Any]:
        """Give one rejection by its record ID. Raises: CallError."""
        found: dict[str, Any] = self._get(f"{PATH}/{record}").json()
        return found

    def content(self, record: str) -> bytes | None:
        """Give what was refused, in its exact bytes; None where it is not shown. Raises: CallError."""
        response = self._request("GET", f"{PATH}/{record}/content")
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        return self._sound(response).content

    def resubmit(self, record: str, corrected: bytes | None = None) -> Resubmitted | Problem:
        """Send a rejection again, corrected or as it was: durable when it returns, or why it was refused.

        Raises: CallError where the collector cannot be reached or cannot take anything now: try again, whatever was taken is
        recognised as a duplicate.
        """
        headers = {"Content-Type": JSON_TYPE}
        response = self._request(
            "POST", f"{PATH}/{record}/resubmit", content=corrected or b"", headers=headers
        )
        if response.status_code in _REFUSED_AGAIN:
            return problem_of(response)
        told = self._sound(response).json()
        return Resubmitted(record, response.headers["Location"], tuple(told["recordIDs"]))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _get(self, path: str, parameters: dict[str, str | int] | None = None) -> httpx.Response:
        return self._sound(self._request("GET", path, params=parameters))

    def _sound(self, response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        problem = problem_of(response)
        raise CallError(str(problem.status), f"{problem.title}: {problem.detail}")

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise CallError("UNAVAILABLE", f"{self._http.base_url}: {error}") from error
