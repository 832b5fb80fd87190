"""Asking one witness to cosign: `POST add-checkpoint` of C2SP tlog-witness, the adapter behind `publishing.Witness`.

Nothing that a witness answers is believed before its signature verified, and no answer is read beyond its limit or its time.
Source: c2sp.org/tlog-witness; c2sp.org/tlog-cosignature.
"""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import httpx

from goodstrace.errors import NoteError, WitnessingError
from goodstrace.note import MAX_NOTE_BYTES, Signature, parse_note
from goodstrace.policy import Policy, PolicyWitness
from goodstrace.witnessing import AddCheckpoint, parse_conflict, parse_cosignatures
from services.runtime.outgoing import careful_client, read_plain
from services.sealing.cosigning import Answer, Cosignatures, Fault, FaultKind, Holds

AT_ONCE: Final = 8  # requests to one witness at the same time; the logs take turns
_FAULTS: Final[Mapping[int, FaultKind]] = {
    HTTPStatus.FORBIDDEN: FaultKind.UNKNOWN_LOG,
    HTTPStatus.NOT_FOUND: FaultKind.UNKNOWN_LOG,
    HTTPStatus.UNPROCESSABLE_ENTITY: FaultKind.FORK,
}


class WitnessClient:
    """A witness by its submission prefix, which may sign with several keys of the policy."""

    def __init__(
        self,
        url: str,
        witnesses: Sequence[PolicyWitness],
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet. `timeout_s` bounds a whole request."""
        self.names: Final = frozenset(witness.name for witness in witnesses)
        self.label: Final = "+".join(witness.name for witness in witnesses)
        self._url = f"{url.rstrip('/')}/add-checkpoint"
        self._keys = {(witness.verifier.name, witness.verifier.key_id): witness for witness in witnesses}
        self._timeout_s = timeout_s
        # A pool of its own: connections that one witness leaves hanging are not missing to another.
        self._http = careful_client(max_connections=AT_ONCE, transport=transport)
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def add_checkpoint(self, request: AddCheckpoint) -> Answer:
        """Ask once; whatever happens is an answer."""
        async with self._turns:
            try:
                async with asyncio.timeout(self._timeout_s):
                    status, body = await self._post(request.encode())
            except TimeoutError:
                return Fault(FaultKind.UNAVAILABLE, f"no answer within {self._timeout_s} s")
            except httpx.HTTPError as error:
                return Fault(FaultKind.UNAVAILABLE, str(error) or type(error).__name__)
        return self._answer(status, body, request)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        """Send, and read no more than the largest answer that is allowed, and one byte."""
        async with self._http.stream("POST", self._url, content=body) as response:
            return response.status_code, await read_plain(response, MAX_NOTE_BYTES)

    def _answer(self, status: int, body: bytes, request: AddCheckpoint) -> Answer:
        try:
            if status == HTTPStatus.OK:
                return self._cosignatures(body, request)
            if status == HTTPStatus.CONFLICT:
                return Holds(parse_conflict(body))
        except (WitnessingError, NoteError) as error:
            return Fault(FaultKind.MALFORMED, str(error))
        kind = FaultKind.UNAVAILABLE if status >= HTTPStatus.INTERNAL_SERVER_ERROR else FaultKind.REFUSED
        detail = body[:200].decode("utf-8", "replace").strip()
        return Fault(_FAULTS.get(status, kind), f"{status}: {detail}")

    def _cosignatures(self, body: bytes, request: AddCheckpoint) -> Answer:
        """Verify those of known keys and ignore the others. Raises: WitnessingError, NoteError."""
        text = parse_note(request.note).text
        found: dict[str, Signature] = {}
        for signature in parse_cosignatures(body):
            witness = self._keys.get((signature.name, signature.key_id))
            if witness is None:
                continue
            if witness.verifier.verify(signature, text) == 0:
                raise NoteError(f"the cosignature of {signature.name!r} has no time")
            found[witness.name] = signature
        if not found:
            raise NoteError("the answer has no cosignature of a key that the policy names")
        return Cosignatures(found)


def witness_clients(policy: Policy, timeout_s: float) -> list[WitnessClient]:
    """Make a client for each URL of the policy: a witness with several keys is asked once.

    Raises: ValueError, naming the witness whose URL is none of http or https.
    """
    by_url: dict[str, list[PolicyWitness]] = {}
    for witness in policy.witnesses:
        if witness.url is None:
            continue
        if not _is_url(witness.url):
            raise ValueError(f"the URL of the witness {witness.name} is none: {witness.url}")
        by_url.setdefault(witness.url.rstrip("/"), []).append(witness)
    return [WitnessClient(url, witnesses, timeout_s) for url, witnesses in by_url.items()]


def _is_url(text: str) -> bool:
    """Tell whether requests can be sent there; else the first of them would find out, when a log is sealed already."""
    try:
        httpx.URL(text)
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (httpx.InvalidURL, ValueError):
        return False
