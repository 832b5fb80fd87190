"""Captures with an Idempotency-Key: sent again they are answered with the same capture, by any collector process.

A key is reserved in MongoDB before its capture is handed to Kafka, with the capture ID that it will have. What says that a
capture was made is the capture itself (its job or its verdicts), so nothing has to be written after it. Where a process
died in between, its key is taken over when its time is over, under another capture ID: had the first capture reached Kafka
unseen, the second one's events are duplicates of it, and nobody was told of the first.
Source: draft-ietf-httpapi-idempotency-key-header-07.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
import structlog

from goodstrace.entry import ID_BYTES
from services.collector.errors import DocumentError, KeyBusyError, KeyReusedError
from services.collector.intake import Intake
from services.collector.keys import Reservation
from services.collector.preparing import Ports, Request
from services.runtime.errors import ServiceError
from services.runtime.merchants.errors import RefusedError

LEASE_MS: Final = 60_000  # far longer than a capture takes: Kafka is given 10 s
_WAIT_S: Final = (
    2  # it will be done by then, unless its process died: then it is asked again until the lease is over
)
_ATTEMPTS: Final = 3


class Keys(Protocol):
    """Where keys are kept; services.collector.keys.KeyStore."""

    async def reserve(self, wanted: Reservation) -> Reservation | None:
        """Take a key, or tell who holds it."""

    async def take_over(self, held: Reservation, wanted: Reservation) -> bool:
        """Take a key from who held it; False where another one did so first."""

    async def release(self, held: Reservation) -> None:
        """Give a key back."""


class Idempotency:
    """Makes captures once for each key.

    Args:
        intake: makes them.
        keys: where keys are kept.
        instance: a name that no other running process has.
        ports: clock and randomness.
        lifetime_s: how long a key is remembered.
        replayed: called where a request is answered with an earlier capture.
    """

    def __init__(
        self,
        intake: Intake,
        keys: Keys,
        *,
        instance: str,
        ports: Ports,
        lifetime_s: int,
        replayed: Callable[[], None],
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._intake = intake
        self._keys = keys
        self._instance = instance
        self._owner = f"{instance}/{ports.random(ID_BYTES).hex()}"
        self._ports = ports
        self._lifetime_s = lifetime_s
        self._replayed = replayed
        self._log = log
        self._running: set[str] = set()

    async def capture(self, request: Request, key: str) -> str:
        """Make the capture of a key, unless it was made before; gives its ID.

        Raises: KeyReusedError, KeyBusyError: nothing was captured; UnavailableError where keys cannot be looked up: nothing was
        captured; and what Intake.capture raises: then the key is free again.
        """
        mine = self._reservation(request, key)
        made = await self._reserve(mine)
        if made is not None:
            self._replayed()
            return made
        self._running.add(mine.capture)
        try:
            chosen = msgspec.structs.replace(request, capture_id=bytes.fromhex(mine.capture))
            return (await self._intake.capture(chosen)).id
        except (DocumentError, RefusedError, ServiceError):
            await self._release(mine)
            raise
        finally:
            self._running.discard(mine.capture)

    async def _reserve(self, mine: Reservation) -> str | None:
        """Reserve a key; gives the capture that was made for it before, None where it is to be made."""
        for _ in range(_ATTEMPTS):
            held = await self._keys.reserve(mine)
            if held is None:
                return None
            if held.capture == mine.capture:
                continue
            now_ms = self._ports.now_ms()
            if held.expires_ms > now_ms:
                if held.request != mine.request:
                    raise KeyReusedError
                if await self._intake.is_captured(held.capture):
                    return held.capture
                if self._is_at_work(held, now_ms):
                    raise KeyBusyError(min(_WAIT_S, -(-(held.until_ms - now_ms) // 1000)))
            if await self._keys.take_over(held, mine):
                return None
        raise KeyBusyError(1)  # others take it over one after another

    def _is_at_work(self, held: Reservation, now_ms: int) -> bool:
        """Say whether the owner may still be making the capture: not if it is an earlier run of this very process."""
        if held.owner == self._owner:
            return held.capture in self._running
        instance, _, _ = held.owner.rpartition("/")
        return instance != self._instance and now_ms < held.until_ms

    def _reservation(self, request: Request, key: str) -> Reservation:
        now_ms = self._ports.now_ms()
        name = hashlib.sha256(f"{request.caller.merchant}/{key}".encode()).hexdigest()
        # Keyed by what only the sender has: from a bare digest the store's reader could tell guesses of what the body held.
        told = hmac.new(f"{request.caller.merchant}/{key}".encode(), digestmod="sha256")
        told.update(f"{request.behaviour}/{request.bare}/{','.join(request.signatures)}/".encode())
        told.update(request.body)
        return Reservation(
            name=name,
            request=told.hexdigest(),
            capture=self._ports.random(ID_BYTES).hex(),
            owner=self._owner,
            until_ms=now_ms + LEASE_MS,
            expires_ms=now_ms + self._lifetime_s * 1000,
        )

    async def _release(self, mine: Reservation) -> None:
        """Give the key back; where that cannot be, a retry finds that nobody is at work on it."""
        try:
            await self._keys.release(mine)
        except ServiceError as error:
            self._log.warning("idempotency key not released", error=str(error))
