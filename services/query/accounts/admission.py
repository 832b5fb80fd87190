"""Whether an attempt may be made, and what it counts for: by account and network, by device, by account, by network, by load, by blocks of networks.

Everything that is counted is counted before the password is looked at, and for names that nobody has as for others.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec

from services.query.accounts import challenges
from services.query.accounts.counters import Counters
from services.query.accounts.errors import ChallengedError, LockedError
from services.query.accounts.lockout import Count, Rule, bits_for, counted, locked_until_ms, recent, window
from services.query.accounts.secret_keys import SecretKeys

V = TypeVar("V")
MAX_NETWORKS: Final = 65_536
MAX_CODES: Final = 10_000
MAX_BESET: Final = 10_000
BESET_MS: Final = 1000


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants to sign in. `device` is the ID of a device that the account knows, "" for none; `challenge` and `counter` are a solution."""

    name: str
    network: str
    device: str = ""
    challenge: str = ""
    counter: int = 0


class Ticket(msgspec.Struct, frozen=True):
    """An attempt that may be made, and under which keys it is counted. known: from a device that the account knows."""

    key: bytes
    window: bytes | None
    known: bool


class Networks:
    """A bucket of attempts for each network, in memory; the least recently seen are forgotten.

    Each query process has its own: whoever can be at one of many processes, or in more networks than are remembered, has that much more, and
    meets what is counted by account. Source: the generic cell rate algorithm.
    """

    def __init__(self, per_minute: int) -> None:
        """Let so many through at once, and as many a minute."""
        self._each_ms = 60_000 / per_minute
        self._empty_at_ms: OrderedDict[str, float] = OrderedDict()

    def take(self, network: str, now_ms: int) -> bool:
        """Take from the bucket of a network; False where it is empty."""
        due_ms = max(self._empty_at_ms.pop(network, 0.0), now_ms)
        has = due_ms - now_ms <= 60_000 - self._each_ms
        self._empty_at_ms[network] = due_ms + self._each_ms if has else due_ms
        while len(self._empty_at_ms) > MAX_NETWORKS:
            self._empty_at_ms.popitem(last=False)
        return has


class AdmissionRules(msgspec.Struct, frozen=True, kw_only=True):
    """The figures: see LoginSettings."""

    lock: Rule = Rule()
    unknown_failures: int = 20
    network_per_minute: int = 60
    challenge_bits: int = 18


class Admission:
    """Lets attempts through, or says what stands before."""

    def __init__(
        self,
        counters: Counters,
        keys: SecretKeys,
        rules: AdmissionRules,
        *,
        is_pressed: Callable[[], bool],
        is_blocked: Callable[[str], Awaitable[bool]],
        random: Callable[[int], bytes],
    ) -> None:
        """Count in `counters`; while `is_pressed`, and in a network that `is_blocked`, whoever is not known must work."""
        self._counters, self._keys, self._rules = counters, keys, rules
        self._is_pressed, self._is_blocked, self._random = is_pressed, is_blocked, random
        self._networks = Networks(rules.network_per_minute)
        self._codes: OrderedDict[str, Count] = OrderedDict()
        self._beset: OrderedDict[str, tuple[int, int]] = OrderedDict()

    async def admit(self, asker: Asker, now_ms: int) -> Ticket:
        """Count an attempt in.

        Raises: LockedError; ChallengedError; UnavailableError.
        """
        if asker.device:
            key = self._keys.counter("device", asker.device)
            try:
                await self._counters.count(key, self._rules.lock, now_ms)
                return Ticket(key, None, known=True)
            except LockedError:
                pass  # a device that fails all the time is like any other
        return await self._admit_unknown(asker, now_ms)

    async def _admit_unknown(self, asker: Asker, now_ms: int) -> Ticket:
        is_blocked = await self._is_blocked(asker.network)
        until_ms, failures = self._beset.get(asker.name, (0, 0))
        if now_ms < until_ms and not asker.challenge:  # an attack shall not be one on the store
            raise self._challenge(asker, failures, now_ms, for_block=is_blocked)
        pair = self._keys.counter("pair", asker.name, asker.network)
        number = window(now_ms)
        current, before = (self._keys.counter("all", asker.name, str(each)) for each in (number, number - 1))
        counts = await self._counters.read([pair, current, before])
        if (until_ms := locked_until_ms(counts[0], self._rules.lock)) > now_ms:
            raise LockedError((until_ms - now_ms) / 1000)
        failures = recent(counts[1].n, counts[2].n, now_ms)
        has_room = self._networks.take(asker.network, now_ms)
        must_work = failures >= self._rules.unknown_failures or not has_room or self._is_pressed()
        if must_work or is_blocked:
            await self._want_work(asker, failures, now_ms, for_block=is_blocked)
        await self._counters.count(pair, self._rules.lock, now_ms, known=counts[0], window=current)
        return Ticket(pair, current, known=False)

    async def _want_work(self, asker: Asker, failures: int, now_ms: int, *, for_block: bool) -> None:
        now_s = now_ms // 1000
        opened = challenges.open_challenge(self._keys.challenges, asker.name, asker.challenge, now_s)
        if opened is not None and challenges.is_solved(asker.challenge, asker.counter, opened.bits):
            spent = self._keys.counter("spent", opened.nonce.hex())
            if await self._counters.spend(spent, opened.until_s):
                return
        if failures >= self._rules.unknown_failures:
            _remember(self._beset, asker.name, (now_ms + BESET_MS, failures), MAX_BESET)
        raise self._challenge(asker, failures, now_ms, for_block=for_block)

    def _challenge(
        self, asker: Asker, failures: int, now_ms: int, *, for_block: bool = False
    ) -> ChallengedError:
        bits = bits_for(failures, self._rules.unknown_failures, self._rules.challenge_bits)
        nonce = self._random(challenges.NONCE_BYTES)
        made = challenges.make_challenge(self._keys.challenges, asker.name, bits, now_ms // 1000, nonce)
        return ChallengedError(made, bits, for_block=for_block)

    async def take_back(self, ticket: Ticket, now_ms: int) -> None:
        """Uncount an attempt that was not made: the service was busy."""
        await self._counters.take_back(ticket.key, ticket.window, now_ms, self._rules.lock)

    async def succeeded(self, ticket: Ticket, now_ms: int) -> None:
        """Forget the failures before a success."""
        await self._counters.forgive(ticket.key, ticket.window, now_ms, self._rules.lock)

    # ---- one's own password and codes, once signed in

    async def admit_own(self, account: str, now_ms: int) -> Ticket:
        """Count an attempt by somebody signed in to show the account's password or code once more. Raises: LockedError; UnavailableError."""
        key = self._keys.counter("own", account)
        await self._counters.count(key, self._rules.lock, now_ms)
        return Ticket(key, None, known=True)

    # ---- codes, once the password was right

    async def may_show_code(self, account: str, now_ms: int) -> bool:
        """Say whether a code is looked at at all: whoever knows the password has few tries, wherever they come from.

        Asked for each attempt, whatever its password was. Raises: UnavailableError.
        """
        stored = (await self._counters.read([self._keys.counter("code", account)]))[0]
        if stored.n > self._codes.get(account, Count()).n:
            _remember(self._codes, account, stored, MAX_CODES)
        return locked_until_ms(self._codes.get(account, Count()), self._rules.lock) <= now_ms

    def code_failed(self, account: str, now_ms: int) -> Callable[[], Awaitable[None]]:
        """Count a wrong code behind a right password at once in this process; gives what tells the other processes, to be awaited once the
        answer has left: nobody shall see by its time that the password was right.
        """  # noqa: D205 - one thought
        after = counted(self._codes.get(account, Count()), self._rules.lock, now_ms)
        _remember(self._codes, account, after, MAX_CODES)
        key = self._keys.counter("code", account)
        return lambda: self._counters.put({key: after}, self._rules.lock)

    async def code_succeeded(self, account: str, now_ms: int) -> None:
        """Forget the wrong codes before a right one. Raises: UnavailableError."""
        self._codes.pop(account, None)
        await self._counters.forgive(self._keys.counter("code", account), None, now_ms, self._rules.lock)


def _remember(known: OrderedDict[str, V], name: str, value: V, most: int) -> None:
    known[name] = value
    known.move_to_end(name)
    while len(known) > most:
        known.popitem(last=False)
