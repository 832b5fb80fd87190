"""What merchants registered, from proved records: who they are, and with which keys their events were signed. Pure.

A registration is an entry of kind `registration` with the part `registration`: JSON {"content", "key", "merchant", "what"}. What holds
at a time is the newest of then, by record time, then record ID. The log shows that a key was registered in a merchant's name, when, and
to everybody alike; that the merchant itself did so is shown by nothing but that it can see it, too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from goodstrace.entry import Kind
from goodstrace.errors import AnswerError, EntryError, SignatureError
from goodstrace.registration import MERCHANT, decode, merchant_key
from goodstrace.registration import PART as REGISTRATION_PART
from goodstrace.signatures import PART, MerchantKey, parse
from goodstrace.verification import VerifiedEntry, VerifiedEvent

LEEWAY_MS: Final = 305_000
"""So far may registration and event be apart where a key counts still: what a collector knows of a merchant may be 302 s old while its
store is away (docs/merchants.md), and clocks of two collectors differ."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A registration that is in its log. `content` is None where it was withheld, `what` empty then."""

    entry: VerifiedEntry
    key: str
    what: str
    content: Mapping[str, Any] | None

    @property
    def order(self) -> tuple[int, str]:
        """By this the newest is told: record time in Unix milliseconds, then record ID."""
        return self.entry.entry.time, self.entry.entry.id


def read_registration(entry: VerifiedEntry, key: str) -> Registration:
    """Read a proved entry as a registration of a canonical key. Raises: AnswerError where it is none."""
    place = f"{entry.log}[{entry.index}]"
    if entry.entry.kind != Kind.REGISTRATION:
        raise AnswerError(f"{place}: an entry of kind {entry.entry.kind} stands where a registration should")
    if REGISTRATION_PART not in entry.parts:
        return Registration(entry, key, "", None)
    try:
        told = decode(entry.parts[REGISTRATION_PART])
    except EntryError as error:
        raise AnswerError(f"{place}: the registration is malformed") from error
    if told.key != key:
        raise AnswerError(f"{place}: asked for registrations of {key} and got one of another key")
    if told.merchant != entry.entry.merchant or (
        told.what == MERCHANT and key != merchant_key(told.merchant)
    ):
        raise AnswerError(f"{place}: the registration is of another merchant than its entry says")
    return Registration(entry, key, told.what, told.content)


def signed_merchants(events: Iterable[VerifiedEvent]) -> set[int]:
    """Give the merchants of whose events some carry a signature by a key that is not known yet."""
    return {
        position.entry.merchant
        for event in events
        if event.signed_by is None
        for position in _signed_positions(event)
    }


class RegisteredKeys:
    """The keys by which merchants signed, as their registrations tell."""

    def __init__(self, registrations: Mapping[int, Iterable[Registration]]) -> None:
        """Take all registrations of some merchants, by number."""
        self._timelines = {
            number: _Timeline(sorted(found, key=lambda each: each.order))
            for number, found in registrations.items()
        }

    def signed(self, event: VerifiedEvent) -> VerifiedEvent:
        """Say by whose registered key an event was signed, where that is not known already.

        Raises: SignatureError where a signature by a registered key does not hold: the collector let none such pass.
        """
        if event.signed_by is not None:
            return event
        found = [(self._signer(position), position) for position in _signed_positions(event)]
        for signer, position in found:
            if signer is not None:
                key, registration = signer
                return replace(event, signed_by=key.kid, signed_at=position, registration=registration.entry)
        return event

    def _signer(self, position: VerifiedEntry) -> tuple[MerchantKey, Registration] | None:
        place = f"{position.log}[{position.index}]"
        try:
            detached = parse(position.parts[PART].decode())
            timeline = self._timelines.get(position.entry.merchant)
            found = timeline.find(detached.kid, position.entry.time) if timeline else None
            if found is not None:
                detached.verify(position.parts["event"], found[0])
        except (UnicodeDecodeError, SignatureError) as error:
            raise SignatureError(f"{place}: {error}") from error
        return found


class _Timeline:
    """A merchant's registrations, oldest first."""

    def __init__(self, registrations: Sequence[Registration]) -> None:
        self._times = [each.order[0] for each in registrations]
        self._registrations = registrations

    def find(self, kid: str, time_ms: int) -> tuple[MerchantKey, Registration] | None:
        """Find the key of this ID in a registration that held at a time, or within the leeway of it: the latest such."""
        first = max(bisect_right(self._times, time_ms - LEEWAY_MS) - 1, 0)
        last = bisect_right(self._times, time_ms + LEEWAY_MS)
        for registration in reversed(self._registrations[first:last]):
            for key in _keys(registration):
                if key.kid == kid:
                    return key, registration
        return None


def _keys(registration: Registration) -> Iterator[MerchantKey]:
    listed = (registration.content or {}).get("signingKeys", ())
    for each in listed if isinstance(listed, list) else ():
        yield MerchantKey.from_jwk(each)


def _signed_positions(event: VerifiedEvent) -> list[VerifiedEntry]:
    return [each for each in event.shown_at if PART in each.parts and "event" in each.parts]
