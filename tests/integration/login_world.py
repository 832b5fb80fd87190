"""A login on a real store: its own clock, callers from any network, and what it recorded."""

import itertools
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pyotp
import pytest
import structlog
from prometheus_client import CollectorRegistry

from deploy.stack import Stack
from goodstrace.query.v1 import login_pb2
from services.query.accounts import account_store, challenges, counters, session_store
from services.query.accounts.errors import ChallengedError
from services.query.accounts.key_ring import KeyFiles
from services.query.accounts.lockout import WINDOW_MS, window
from services.query.accounts.metrics import LoginMetrics
from services.query.accounts.serving import Login
from services.query.accounts.sessions import ID_BYTES
from services.query.accounts.stored import StoredAccount
from services.runtime.access.accounts import AccountReader
from services.runtime.access.current import acting
from services.runtime.access.jwks import Jwks
from services.runtime.access.networks import network_of
from services.runtime.access.settings import LoginSettings
from services.runtime.access.tokens import PublicKey, TokenRules, Tokens
from services.runtime.access.values import NOBODY, AccountKind, AccountStatus, Means, Principal, Role
from services.runtime.blocking import Blocks, RememberedBlocks
from services.runtime.merchants.errors import UnauthenticatedError
from services.runtime.mongo import Mongo, create_indexes
from services.runtime.settings import MongoSettings
from tests.conftest import Names
from tests.memory_recorder import MemoryRecorder

ISSUER = "test.example"
PROVIDER_HOST = "id.shop.example"
PASSWORD = "seven wet llamas dance"
_ADDRESSES = itertools.count(1)


class Caller:
    """The context of a call; `certificates` are the names in the one that was shown."""

    def __init__(self, certificates: Sequence[str] = ()) -> None:
        self.certificates = tuple(certificates)


class World:
    """A login, and how to use it."""

    def __init__(self, uri: str, database: str, folder: Path, **settings: Any) -> None:
        self.mongo = Mongo(MongoSettings(uri=uri, database=database))  # type: ignore[call-arg]
        self.recorder = MemoryRecorder()
        # The beginning of a window: that it does not end meanwhile shall not depend on the time of day.
        self.now_ms = (window(time.time_ns() // 1_000_000) + 1) * WINDOW_MS
        self.folder = folder / "login"
        self.files = KeyFiles(self.folder, 300)
        self.files.make_first(self.now_ms)
        self.registry = CollectorRegistry()
        self.settings = {"hash_memory_kib": 8, "hash_passes": 1, "challenge_bits": 4, **settings}
        self.secret = secrets.token_bytes(32)
        self.blocks = Blocks(self.mongo.database)
        self.login = self.process()
        self.reader = AccountReader(self.mongo.database)

    def process(self) -> Login:
        """Another query process on the same store."""
        return Login(
            self.mongo.database,
            self.recorder,
            LoginSettings(key_dir=self.folder, **self.settings),
            issuer=ISSUER,
            secret=self.secret,
            files=self.files,
            has_looks=self.has_looks,
            provider_host=PROVIDER_HOST,
            is_blocked=RememberedBlocks(
                self.blocks, pseudonyms=self.lately, fresh_s=0, now_ms=lambda: self.now_ms
            ).is_network_blocked,
            metrics=LoginMetrics(CollectorRegistry()),
            log=structlog.get_logger(),
            certificate_names=lambda context: getattr(context, "certificates", ()),
            now_ms=lambda: self.now_ms,
        )

    async def prepare(self) -> None:
        await create_indexes(
            self.mongo.database,
            account_store.indexes() | session_store.indexes() | counters.indexes(),
        )

    async def close(self) -> None:
        await self.login.settled()
        self.login.hasher.close()
        # What has expired SecantusDB removes one by one, each with syncs of its file, and nobody else is served meanwhile.
        await self.mongo.database[counters.COUNTERS].drop()
        self.mongo.close()

    async def has_looks(self, name: str) -> bool:
        """See `services.query.accounts.new_names`: whoever is in a record."""
        return any(each.user == name for each in self.recorder.browses)

    @staticmethod
    async def lately(name: str) -> list[str]:
        """Nobody is blocked by a pseudonym here."""
        return []

    def later(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)

    async def account(
        self, name: str, roles: tuple[Role, ...] = (Role.SHOPPER,), password: str = PASSWORD, **members: Any
    ) -> StoredAccount:
        """Make somebody's account whose password is known."""
        made = StoredAccount(
            id=secrets.token_bytes(ID_BYTES).hex(),
            kind=AccountKind.USER,
            name=name,
            roles=roles,
            password=await self.login.hasher.hash(password, first=True),
            created_ms=self.now_ms,
            **members,
        )
        await account_store.AccountStore(self.mongo.database).add(made)
        return made

    async def sign_in(
        self,
        name: str,
        password: str = PASSWORD,
        address: str = "",
        *,
        login: Login | None = None,
        solve: bool = False,
        **members: Any,
    ) -> login_pb2.SignInResponse:
        """Sign in, from a network of its own where none is named; with `solve` any challenge is."""
        request = login_pb2.SignInRequest(name=name, password=password, **members)
        servicer = (login or self.login).login
        with acting(NOBODY, network=network_of(address or new_address())):
            try:
                return await servicer.SignIn(request, Caller())  # type: ignore[arg-type]
            except ChallengedError as error:
                if not solve:
                    raise
                asked = error.details[0]
                counter = challenges.solve(asked.challenge, asked.zero_bits)
                request.solution.challenge, request.solution.counter = asked.challenge, counter
                return await servicer.SignIn(request, Caller())  # type: ignore[arg-type]

    async def find(self, kid: str) -> PublicKey | None:
        """See KeySource: the keys that are published."""
        return await Jwks(str(self.folder / "jwks.json"), time.monotonic).find(kid)

    async def who(self, tokens: login_pb2.Tokens) -> Principal:
        """Tell who an access token is of, as every service does. Raises: UnauthenticatedError."""
        rules = TokenRules(ISSUER, ISSUER)
        claims = await Tokens(rules, self, lambda: self.now_ms).claims(tokens.access_token)
        account = await self.reader.account(claims["sub"])
        if account is None or account.status is not AccountStatus.ACTIVE:
            raise UnauthenticatedError("no account")
        if account.valid_from_ms > claims["iat_ms"]:
            raise UnauthenticatedError("revoked")
        if "sid" in claims and not await self.reader.session_is_open(claims["sid"]):
            raise UnauthenticatedError("session over")
        return Principal(
            means=Means.TOKEN,
            account=account.id,
            name=account.name,
            roles=frozenset(account.roles),
            merchant=account.merchant,
            session=claims.get("sid", ""),
        )

    async def call(
        self, method: Callable[[Any, Any], Awaitable[Any]], request: Any, who: Principal = NOBODY
    ) -> Any:
        """Call a method as somebody."""
        with acting(who, network=network_of(new_address())):
            return await method(request, Caller())

    async def refresh(self, token: str) -> login_pb2.Tokens:
        request = login_pb2.RefreshRequest(refresh_token=token)
        answer: login_pb2.RefreshResponse = await self.call(self.login.login.Refresh, request)
        return answer.tokens


def new_address() -> str:
    """An address in a network that nobody has called from."""
    number = next(_ADDRESSES)
    return f"{10 + number // 65536}.{number // 256 % 256}.{number % 256}.7"


async def with_totp(world: World, name: str) -> tuple[pyotp.TOTP, list[str]]:
    """Make an account that uses one-time codes; gives what shows them, and recovery codes."""
    await world.account(name)
    who = await world.who((await world.sign_in(name)).tokens)
    begun = await world.call(world.login.login.BeginTotp, login_pb2.BeginTotpRequest(password=PASSWORD), who)
    totp = pyotp.parse_uri(begun.uri)
    assert isinstance(totp, pyotp.TOTP)
    assert (totp.secret, totp.name) == (begun.secret, name)
    confirm = login_pb2.ConfirmTotpRequest(code=totp.at(world.now_ms // 1000))
    answer = await world.call(world.login.login.ConfirmTotp, confirm, who)
    world.recorder.browses.clear()
    return totp, list(answer.recovery_codes)


@asynccontextmanager
async def prepared(stack: Stack, names: Names, folder: Path, **settings: Any) -> AsyncIterator[World]:
    """A login with these settings on the run's store, closed at the end."""
    made = World(stack.mongodb_uri, names.database, folder, **settings)
    await made.prepare()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def world(stack: Stack, names: Names, tmp_path: Path) -> AsyncIterator[World]:
    """A login of the test's own."""
    async with prepared(stack, names, tmp_path) as made:
        yield made
