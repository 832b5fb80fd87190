"""10,000 attempts from many networks against 100 accounts: none in, honest people get in meanwhile."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.stack import Stack
from services.query.accounts.errors import BusyError, ChallengedError, LockedError
from services.runtime.merchants.errors import UnauthenticatedError
from tests.conftest import Names
from tests.integration.login_world import PASSWORD, World, new_address, prepared

ATTEMPTS, ACCOUNTS, NETWORKS = 10_000, 100, 2_500
AT_ONCE = 48
SOLVED_BY_ATTACKERS = 0.03
HONEST = 20
TRIES = 20


class Attack:
    """Attackers who know all names, show no device token, and solve some challenges."""

    def __init__(self, world: World, names: list[str]) -> None:
        self.world, self.names = world, names
        self.random = random.Random(7)
        self.networks = [new_address() for _ in range(NETWORKS)]
        self.outcomes: Counter[str] = Counter()

    async def run(self) -> None:
        left = iter(range(ATTEMPTS))

        async def attacker() -> None:
            for _ in left:
                self.outcomes[await self.attempt()] += 1

        await asyncio.gather(*(attacker() for _ in range(AT_ONCE)))

    async def attempt(self) -> str:
        name = self.random.choice(self.names)
        password = f"guess {self.random.randrange(10**9)}"
        solve = self.random.random() < SOLVED_BY_ATTACKERS
        try:
            await self.world.sign_in(name, password, self.random.choice(self.networks), solve=solve)
        except UnauthenticatedError:
            return "refused after hashing"
        except ChallengedError:
            return "told to work"
        except LockedError:
            return "locked"
        except BusyError:
            return "busy"
        return "in"


class Honest:
    """Somebody who knows the password, and is one of those under attack."""

    def __init__(self, world: World, name: str, device_token: str) -> None:
        self.world, self.name, self.device_token = world, name, device_token
        self.address = new_address()
        self.seconds: list[float] = []
        self.worked = 0

    async def sign_in(self) -> None:
        began = time.perf_counter()
        for _ in range(TRIES):
            try:
                await self._sign_in()
                break
            except BusyError as busy:
                await asyncio.sleep(busy.retry_after_s or 0.1)
        else:
            pytest.fail(f"{self.name} does not get in")
        self.seconds.append(time.perf_counter() - began)

    async def _sign_in(self) -> None:
        if self.device_token:
            await self.world.sign_in(self.name, PASSWORD, self.address, device_token=self.device_token)
            return
        try:
            await self.world.sign_in(self.name, PASSWORD, self.address)
        except ChallengedError:
            self.worked += 1
            await self.world.sign_in(self.name, PASSWORD, self.address, solve=True)


async def test_ten_thousand_attempts_let_nobody_in_and_keep_nobody_out(
    stack: Stack, names: Names, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    async with prepared(stack, names, tmp_path, unknown_failures=5, challenge_bits=8, hash_queue=64) as world:
        accounts = [f"user-{number}" for number in range(ACCOUNTS)]
        for name in accounts:
            await world.account(name)
        known = [Honest(world, name, (await world.sign_in(name)).device_token) for name in accounts[:HONEST]]
        strangers = [Honest(world, name, "") for name in accounts[HONEST : 2 * HONEST]]
        attack = Attack(world, accounts)
        began = time.perf_counter()
        attacking = asyncio.create_task(attack.run())
        rounds = 0
        while not attacking.done():
            await asyncio.gather(*(each.sign_in() for each in known + strangers))
            rounds += 1
            await asyncio.sleep(0.5)
        await attacking
        took_s = time.perf_counter() - began
        assert attack.outcomes.total() == ATTEMPTS
        assert attack.outcomes["in"] == 0
        assert all(len(each.seconds) == rounds for each in known + strangers)
        counted = await world.mongo.database["login_counters"].count_documents({})
        assert counted < 3 * ATTEMPTS
        await world.login.attempts.flush()
        refused = [each for each in world.recorder.browses if each.refused]
        assert len(refused) < took_s * 12 + 100
        assert sum(each.times for each in refused) >= ATTEMPTS
        slowest = {
            "with": max(s for each in known for s in each.seconds),
            "without": max(s for each in strangers for s in each.seconds),
        }
        said = ", ".join(f"{count} {outcome}" for outcome, count in attack.outcomes.most_common())
        tell(
            f"attack: {ATTEMPTS} attempts from {NETWORKS} networks against {ACCOUNTS} accounts in {took_s:.1f} s: {said}; "
            f"{world.login.hasher.verified} hashes, {counted} counters, {len(refused)} records of refusals; "
            f"meanwhile {rounds} x {HONEST} honest sign-ins with a device token (slowest {slowest['with']:.2f} s) and as many without "
            f"({sum(each.worked for each in strangers)} of them worked, slowest {slowest['without']:.2f} s): all in"
        )


async def test_names_that_nobody_has_do_not_keep_people_out(
    stack: Stack, names: Names, tmp_path: Path
) -> None:
    async with prepared(
        stack, names, tmp_path, hash_threads=1, hash_queue=8, hash_memory_kib=8_192, challenge_bits=6
    ) as world:
        await world.account("ann")
        flood = [asyncio.create_task(_unknown(world, number)) for number in range(200)]
        await asyncio.sleep(0.02)
        ann = Honest(world, "ann", "")
        await ann.sign_in()
        await asyncio.gather(*flood)


async def _unknown(world: World, number: int) -> None:
    with pytest.raises((UnauthenticatedError, ChallengedError, BusyError)):
        await world.sign_in(f"nobody-{number}", "x", solve=number % 2 == 0)
