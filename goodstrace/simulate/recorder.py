"""What one chain records: a clock, and EPCIS events in the words of the party that captures them."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable
from typing import NamedTuple

from goodstrace.simulate import identifiers
from goodstrace.simulate.identifiers import Key
from goodstrace.simulate.options import SimulationOptions
from goodstrace.simulate.world import LINKED, MIXED, Numbers, Party

Event = dict[str, object]

_UNNAMED_SHARE = 0.1
"""Share of events without eventID: the event hash names them."""


class Captured(NamedTuple):
    """An event, when it happened (Unix seconds) and who captured it."""

    time_s: int
    party: Party
    event: Event


class Recorder:
    """Records the events of one chain in the order in which they happen."""

    def __init__(
        self, rng: random.Random, numbers: Numbers, options: SimulationOptions, start_s: int
    ) -> None:
        self.rng = rng
        self.numbers = numbers
        self.options = options
        self.clock_s = start_s
        self.captured: list[Captured] = []
        self.corrected: str | None = None
        self._link = False

    def chance(self, share: float) -> bool:
        """Tell whether something that happens to `share` of all cases happens now."""
        return self.rng.random() < share

    def between(self, low: int, high: int) -> int:
        """Draw a whole number in low..high, both included."""
        return low + int(self.rng.random() * (high - low + 1))

    def wait(self, low_min: int, high_min: int) -> None:
        """Let low_min..high_min minutes pass, to the second."""
        self.clock_s += self.between(low_min * 60, high_min * 60)

    def say(self, key: Key) -> str:
        """Spell `key` as the event being recorded does (see `begin`)."""
        return key.link if self._link else key.urn

    def say_all(self, keys: Iterable[Key]) -> list[str]:
        """Spell every one of `keys`."""
        return [key.link for key in keys] if self._link else [key.urn for key in keys]

    def begin(self, party: Party) -> None:
        """Start an event of `party`: settles how its identifiers are spelled."""
        self._link = party.spelling == LINKED or (party.spelling == MIXED and self.chance(0.5))

    def quantity(self, lot: Key, amount: float, unit: str | None) -> dict[str, object]:
        """Give a quantity element; `unit` is a UN/CEFACT code, or None when `amount` counts pieces."""
        element: dict[str, object] = {"epcClass": self.say(lot), "quantity": amount}
        if unit is not None:
            element["uom"] = unit
        return element

    def order(self, kind: str, issuer: Party, number: str) -> dict[str, str]:
        """Give a business transaction of CBV type `kind`, named as CBV 2.0 section 8.5.3 says."""
        return {"type": kind, "bizTransaction": f"urn:epcglobal:cbv:bt:{issuer.gln}:{number}"}

    def from_to(self, seller: Party, buyer: Party) -> Event:
        """Give the source and destination lists of goods that go from `seller` to `buyer`."""
        return {
            "sourceList": [
                {"type": "owning_party", "source": self.say(seller.identity)},
                {"type": "location", "source": self.say(seller.site)},
            ],
            "destinationList": [
                {"type": "owning_party", "destination": self.say(buyer.identity)},
                {"type": "location", "destination": self.say(buyer.site)},
            ],
        }

    def record(self, party: Party, kind: str, step: str, disposition: str, body: Event) -> None:
        """Record one event of EPCIS type `kind` by `party`, now; some get recorded wrongly first and corrected.

        Args:
            party: who captures it, at its dock. The caller called `begin(party)` before spelling `body`.
            kind: "ObjectEvent", "AggregationEvent", "TransactionEvent" or "TransformationEvent".
            step: business step, a CBV 2.0 bare word.
            disposition: likewise.
            body: the other fields, "action" among them where the type has one.
        """
        event: Event = {"type": kind}
        named = not self.chance(_UNNAMED_SHARE)
        if named:
            event["eventID"] = self._event_id()
        event["eventTime"] = party.local_time(self.clock_s)
        event["eventTimeZoneOffset"] = party.offset
        event.update(body)
        event["bizStep"] = step
        event["disposition"] = disposition
        event["readPoint"] = {"id": self.say(party.dock)}
        event["bizLocation"] = {"id": self.say(party.site)}
        if self.chance(self.options.corrections):
            self._correct(party, event)
        else:
            self.captured.append(Captured(self.clock_s, party, event))
            self._repeat(party, event)

    def _repeat(self, party: Party, event: Event) -> None:
        """Let a reader report what it still sees, about twice a second, each time under an ID of its own."""
        is_read = event["type"] == "ObjectEvent" and event.get("action") == "OBSERVE" and "epcList" in event
        if not self.options.storms or not is_read or not self.chance(self.options.storms):
            return
        for number in range(1, self.between(20, 60)):
            time_s = self.clock_s + number // 2
            again = event | {"eventID": self._event_id(), "eventTime": party.local_time(time_s)}
            self.captured.append(Captured(time_s, party, again))

    def _correct(self, party: Party, right: Event) -> None:
        """Record what was wrong, the declaration that cancels it, and then `right` under an ID of its own."""
        wrong = dict(right)
        right = {"type": right["type"], "eventID": self._event_id()} | {
            name: value for name, value in right.items() if name not in ("type", "eventID")
        }
        self._spoil(party, wrong)
        declared = wrong | {
            "errorDeclaration": {
                "declarationTime": party.local_time(self.clock_s + self.between(60, 840)),
                "reason": "incorrect_data",
                "correctiveEventIDs": [right["eventID"]],
            }
        }
        self.captured.extend(Captured(self.clock_s, party, event) for event in (wrong, declared, right))
        if self.corrected is None:
            self.corrected = str(right["eventID"])

    def _spoil(self, party: Party, event: Event) -> None:
        """Make the kind of mistake people make: a misread container, a slipped decimal point, the wrong door."""
        inputs = event.get("inputQuantityList")
        if "parentID" in event:
            event["parentID"] = self.say(self.numbers.container(party.company))
        elif isinstance(inputs, list):
            first = dict(inputs[0])
            first["quantity"] = round(first["quantity"] * 10, 2)
            event["inputQuantityList"] = [first, *inputs[1:]]
        else:
            gate = identifiers.location(party.company, "00100", "GATE9")
            event["readPoint"] = {"id": self.say(gate)}

    def _event_id(self) -> str:
        return f"urn:uuid:{uuid.UUID(int=self.rng.getrandbits(128), version=4)}"
