"""Looks as the watch is told of them, made deterministically: attacks, and what is honest and looks like them."""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from goodstrace.record.v1.record_pb2 import WatchedBrowse
from services.runtime.access.naming import NOBODIES
from services.runtime.vault import Person
from services.runtime.vault.people import day_of, pseudonym_of
from services.sealing.browse import Browse, BrowseKind, watched_browse

BEGIN_MS = 1_767_225_600_000  # a whole day, in 2026
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
_GTIN = "https://id.gs1.org/01/09521234543213"


class Marks(msgspec.Struct, frozen=True):
    """How many answers of a process ended so."""

    answered: int = 0
    failed: int = 0
    withheld: int = 0


class Look(msgspec.Struct, frozen=True):
    """A browse, or marks, at a time."""

    time_ms: int
    browse: Browse | Marks


def serial(number: int, gtin: str = _GTIN) -> str:
    return f"{gtin}/21/{number}"


def lot(name: str) -> str:
    return f"{_GTIN}/10/{name}"


def look(at_ms: int, user: str, *keys: str, network: str = "192.0.2.0", **more: Any) -> Look:
    kept = {"method": "Trace", "sizes": {"goods/0": 9}, "purpose": "", "events": 1, **more}
    return Look(BEGIN_MS + at_ms, Browse(user=user, keys=keys, network=network, **kept))


def sign_in(at_ms: int, user: str, network: str, *, refused: str = "wrong-password") -> Look:
    return look(
        at_ms, user, network=network, method="SignIn", kind=BrowseKind.SIGN_IN, refused=refused, events=0
    )


def marks(at_ms: int, answered: int, failed: int = 0, withheld: int = 0) -> Look:
    return Look(BEGIN_MS + at_ms, Marks(answered, failed, withheld))


def pseudonym(name: str, time_ms: int) -> str:
    """Give who a user is at a time, under day keys that a replay has too."""
    if name in NOBODIES:
        return name
    return pseudonym_of(hashlib.sha256(day_of(time_ms).encode()).digest(), name)


def record(made: Look, record_id: bytes, *, first_seen: bool = False) -> WatchedBrowse:
    browse = made.browse
    if isinstance(browse, Marks):
        drawn = random.Random(record_id)
        told = WatchedBrowse(time_ms=made.time_ms, kind="marks")
        for name in ("answered", "failed", "withheld"):
            getattr(told, name).extend(drawn.randbytes(16) for _ in range(getattr(browse, name)))
        return told
    who = Person(key=bytes(32), pseudonym=pseudonym(browse.user, made.time_ms), first_seen=first_seen)
    return watched_browse(browse, who, record_id=record_id, time_ms=made.time_ms)


def records(looks: Sequence[Look], seed: int = 0) -> list[WatchedBrowse]:
    """Give what is told of looks in the order of their times, with IDs that a seed determines."""
    drawn, known, made = random.Random(seed), set[str](), []
    for each in sorted(looks, key=lambda each: each.time_ms):
        user = "" if isinstance(each.browse, Marks) else each.browse.user
        made.append(record(each, drawn.randbytes(16), first_seen=bool(user) and user not in known))
        known.add(user)
    return made


def ending_at(looks: Sequence[Look], time_ms: int) -> list[Look]:
    """Move looks in time so that the last one is then: idle partitions tell a running watch what time it is."""
    later_ms = time_ms - max(each.time_ms for each in looks)
    return [msgspec.structs.replace(each, time_ms=each.time_ms + later_ms) for each in looks]


def hours_later(looks: Sequence[Look], time_ms: int) -> list[Look]:
    """Move looks by whole hours, as near to a time as they come before it: windows of an hour are counted from the full hour, and cut them as before."""
    hours = (time_ms - max(each.time_ms for each in looks)) // HOUR_MS
    return [msgspec.structs.replace(each, time_ms=each.time_ms + hours * HOUR_MS) for each in looks]


def background(seed: int = 1, hours: int = 2) -> list[Look]:
    """Forty users who look at some goods each, and sign in wrongly now and then."""
    drawn = random.Random(seed)
    made = []
    for number in range(40 * hours):
        at, user = drawn.randrange(hours * HOUR_MS), f"user-{number % 40}"
        network = f"198.51.{number % 40}.0"
        made += [
            look(at + nth * 15_000, user, serial(drawn.randrange(10**9)), network=network)
            for nth in range(drawn.randrange(1, 8))
        ]
        made.append(sign_in(at, user, network, refused="" if number % 10 else "wrong-password"))
    return made


def _scraping() -> Iterator[Look]:
    for number in range(260):
        yield look(number * 1500, "scraper", serial(number * 7919))


def _scraping_twin() -> Iterator[Look]:
    """As many looks, at twenty of one's own orders, again and again; and as many goods, over a working day."""
    for number in range(260):
        yield look(number * 1500, "anxious", serial(number % 20 * 7919))
    for number in range(260):
        yield look(number * 110_000, "diligent", serial(number * 104_729), network="203.0.113.0")


def _enumeration() -> Iterator[Look]:
    numbers = list(range(4000, 4030))
    random.Random(3).shuffle(numbers)  # it hides the order
    for nth, number in enumerate(numbers):
        yield look(nth * 10_000, "guesser", serial(number))


def _enumeration_twin() -> Iterator[Look]:
    """A case of twelve neighbours, and thirty serials from here and there; two users who share a run."""
    for number in range(12):
        yield look(number * 5_000, "receiver", serial(4000 + number))
    for number in range(30):
        yield look(number * 10_000, "inspector", serial(4000 + number * 3))
        yield look(number * 10_000, f"one-of-two-{number % 2}", serial(9000 + number))


def _copied() -> Iterator[Look]:
    for number in range(12):
        yield look(number * 3 * MINUTE_MS, f"shopper-{number}", serial(77), network=f"203.0.{number}.0")


def _copied_twin() -> Iterator[Look]:
    """One item that a family shows around from three networks; a lot that many look at; as many networks over two days."""
    for number in range(24):
        yield look(number * 2 * MINUTE_MS, "family", serial(77), network=f"203.0.{number % 3}.0")
        yield look(number * MINUTE_MS, f"shopper-{number}", lot("L1"), network=f"203.1.{number}.0")
        yield look(number * 2 * HOUR_MS, f"owner-{number}", serial(78), network=f"203.2.{number}.0")


def _interest() -> Iterator[Look]:
    for hour in range(24):
        for nth in range(4):
            yield look(hour * HOUR_MS + nth * 10 * MINUTE_MS, f"regular-{nth}", lot("RECALLED"))
    for nth in range(90):
        yield look(24 * HOUR_MS + nth * 30_000, f"newcomer-{nth}", lot("RECALLED"))


def _interest_twin() -> Iterator[Look]:
    """A lot that is always looked at so often."""
    for hour in range(25):
        for nth in range(60):
            yield look(hour * HOUR_MS + nth * 55_000, f"regular-{nth}", lot("POPULAR"))


def _refused() -> Iterator[Look]:
    for number in range(60):
        yield look(number * 5_000, "prober", refused="not-allowed", kind=BrowseKind.REFUSAL, events=0)


def _refused_twin() -> Iterator[Look]:
    for number in range(60):
        yield look(number * 5_000, "clumsy", serial(1), refused="" if number % 4 else "not-allowed")


def _guessed() -> Iterator[Look]:
    for number in range(14):
        yield sign_in(number * 20_000, "victim", f"203.0.{number}.0")


def _guessed_twin() -> Iterator[Look]:
    """Three wrong tries and then the right one, all day."""
    for hour in range(8):
        for nth in range(4):
            yield sign_in(
                hour * HOUR_MS + nth * 9_000, "forgetful", "203.0.1.0", refused="" if nth == 3 else "no"
            )


def _guessing_network() -> Iterator[Look]:
    for number in range(56):
        yield sign_in(number * 5_000, f"name-{number % 8}", "203.0.113.0")


def _guessing_network_twin() -> Iterator[Look]:
    """A large office in the morning: many sign-ins, few of them wrong."""
    for number in range(300):
        yield sign_in(
            number * 1_500, f"clerk-{number}", "203.0.113.0", refused="" if number % 30 else "wrong-password"
        )


def _sprayed() -> Iterator[Look]:
    for number in range(20):
        yield sign_in(number * 20_000, f"name-{number}", "203.0.113.0")


def _sprayed_twin() -> Iterator[Look]:
    """A shared network on the day of a new password rule: everybody mistypes, but few at a time; and a few forget all morning."""
    for number in range(60):
        yield sign_in(number * MINUTE_MS, f"guest-{number}", "203.0.113.0")
        yield sign_in(number * MINUTE_MS + 20_000, f"guest-{number}", "203.0.113.0", refused="")
    for number in range(40):
        yield sign_in(
            number * 2_000,
            f"clerk-{number % 12}",
            "203.0.114.0",
            refused="" if number >= 36 else "wrong-password",
        )


def _denied() -> Iterator[Look]:
    """Somebody who tries what may not be done, and looks at something between."""
    for number in range(40):
        yield look(number * 9_000, "taster", serial(5), refused="not-allowed" if number % 4 else "")


def _denied_twin() -> Iterator[Look]:
    """As many refusals of somebody who works all the while."""
    for number in range(120):
        yield look(number * 3_000, "busy", serial(number % 9), refused="" if number % 4 else "not-allowed")


def _failed() -> Iterator[Look]:
    for number in range(120):
        yield marks(number * 2_000, 2, failed=number % 2)


def _failed_twin() -> Iterator[Look]:
    """A busy hour: as many failures, of far more answers; and a quiet one, of which a few fail."""
    for number in range(120):
        yield marks(number * 2_000, 40, failed=number % 2)
        yield marks(2 * HOUR_MS + number * 20_000, 1, failed=number % 20 // 19)


def _withheld() -> Iterator[Look]:
    for number in range(200):
        yield marks(HOUR_MS + number * 2_000, number % 3 // 2, withheld=1)


def _withheld_twin() -> Iterator[Look]:
    """Other merchants' goods among one's own."""
    for number in range(200):
        yield marks(HOUR_MS + number * 2_000, 3, withheld=1)


Scenario = Callable[[], Iterator[Look]]
SCENARIOS: dict[str, tuple[Scenario, Scenario]] = {
    "scraping": (_scraping, _scraping_twin),
    "enumeration": (_enumeration, _enumeration_twin),
    "copied-serial": (_copied, _copied_twin),
    "sudden-interest": (_interest, _interest_twin),
    "refused": (_refused, _refused_twin),
    "guessed-password": (_guessed, _guessed_twin),
    "guessing-network": (_guessing_network, _guessing_network_twin),
    "sprayed-passwords": (_sprayed, _sprayed_twin),
    "denied-share": (_denied, _denied_twin),
    "failed-answers": (_failed, _failed_twin),
    "withheld-answers": (_withheld, _withheld_twin),
    "scraping-network": (
        lambda: (look(n * 1_000, f"bot-{n % 40}", serial(n * 7919)) for n in range(2600)),
        lambda: (look(n * 1_000, f"clerk-{n % 40}", serial(n % 900 * 7919)) for n in range(2600)),
    ),
}
"""By rule: looks in which it must speak, and their honest twin, in which no rule may."""
