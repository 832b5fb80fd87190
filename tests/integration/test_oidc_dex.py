"""Tokens of a real identity provider, dex: got by password and by a browser's way, and mapped to who shows them."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.runtime.access.oidc import OidcTokens
from services.runtime.access.settings import OidcSettings
from services.runtime.access.values import Means, Role
from services.runtime.errors import UnavailableError
from services.runtime.merchants.errors import UnauthenticatedError
from tests.deadlines import DEADLINE_S
from tests.dex import Dex
from tests.go_programs import GO

pytestmark = pytest.mark.skipif(
    not GO.exists(), reason="dex is built by Go, which is not there: make install-go"
)

USERS = {
    "ann@shop.example": ["auditor"],
    "bob@shop.example": ["staff", "operator"],
    "eve@shop.example": ["staff"],
}
CLIENTS = ("goodstrace", "another")


@pytest.fixture(scope="module")
def dex(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dex]:
    with Dex(tmp_path_factory.mktemp("dex"), USERS, CLIENTS) as running:
        yield running


class Verifier:
    """Ours, with how far its clock is ahead."""

    def __init__(self, issuer: str, **settings: Any) -> None:
        self.ahead_s = 0.0
        told: dict[str, Any] = {"issuer": issuer, "audience": "goodstrace", "skew_s": 0, **settings}
        self._tokens = OidcTokens(
            OidcSettings(**told), lambda: time.monotonic() + self.ahead_s, lambda: time.time_ns() // 1_000_000
        )

    async def principal(self, token: str) -> Any:
        return await self._tokens.principal(token)


@pytest.mark.parametrize("kind", ["id_token", "access_token"])
async def test_who_signed_in_there_is_known_here(dex: Dex, kind: str) -> None:
    verifier = Verifier(dex.issuer)
    host = dex.issuer.split("/")[2]
    ann = await verifier.principal(dex.by_password("ann@shop.example", "goodstrace")[kind])
    assert (ann.means, ann.name, ann.roles) == (Means.OIDC, f"ann@{host}", {Role.AUDITOR})
    bob = await verifier.principal(dex.by_code("bob@shop.example", "goodstrace")[kind])
    assert (bob.name, bob.roles) == (f"bob@{host}", {Role.OPERATOR})
    eve = dex.by_password("eve@shop.example", "goodstrace")[kind]
    assert (await verifier.principal(eve)).roles == set()
    assert (await Verifier(dex.issuer, shoppers=True).principal(eve)).roles == {Role.SHOPPER}


async def test_without_the_scope_there_are_no_roles(dex: Dex) -> None:
    token = dex.by_password("ann@shop.example", "goodstrace", "openid")["id_token"]
    assert (await Verifier(dex.issuer).principal(token)).roles == set()


async def test_tokens_for_others_do_not_count(dex: Dex) -> None:
    token = dex.by_password("ann@shop.example", "another")["id_token"]
    with pytest.raises(UnauthenticatedError):
        await Verifier(dex.issuer).principal(token)
    ours = dex.by_password("ann@shop.example", "goodstrace")["id_token"]
    with pytest.raises(UnauthenticatedError):
        await Verifier(dex.issuer, clients="another").principal(ours)


async def test_tokens_of_another_issuer_do_not_count(dex: Dex, tmp_path: Path) -> None:
    with Dex(tmp_path, USERS, CLIENTS, life_s=1) as other:
        foreign = other.by_password("ann@shop.example", "goodstrace")["id_token"]
        with pytest.raises(UnauthenticatedError):
            await Verifier(dex.issuer).principal(foreign)
        with pytest.raises(UnauthenticatedError):
            await Verifier(other.issuer, jwks=f"{dex.issuer}/keys").principal(foreign)
        # a name for the same provider is not its name
        with pytest.raises(UnavailableError):
            await Verifier(other.issuer.replace("127.0.0.1", "localhost")).principal(foreign)


async def test_a_token_counts_until_it_ends(tmp_path: Path) -> None:
    with Dex(tmp_path, USERS, CLIENTS, life_s=2) as dex:
        verifier = Verifier(dex.issuer)
        token = dex.by_password("ann@shop.example", "goodstrace")["id_token"]
        assert (await verifier.principal(token)).is_any(Role.AUDITOR)
        until = time.monotonic() + DEADLINE_S
        while await counts(verifier, token):
            assert time.monotonic() < until
            await asyncio.sleep(0.05)


async def counts(verifier: Verifier, token: str) -> bool:
    try:
        await verifier.principal(token)
    except UnauthenticatedError:
        return False
    return True


async def test_new_keys_of_the_issuer_are_taken_and_the_old_ones_given_up(tmp_path: Path) -> None:
    with Dex(tmp_path, USERS, CLIENTS) as dex:
        verifier = Verifier(dex.issuer)
        old = dex.by_password("ann@shop.example", "goodstrace")["id_token"]
        await verifier.principal(old)
        dex.stop()
        await verifier.principal(old)  # the keys are known while it is away
        dex.start()
        verifier.ahead_s = 11.0
        new = dex.by_password("ann@shop.example", "goodstrace")["id_token"]
        assert (await verifier.principal(new)).is_any(Role.AUDITOR)
        with pytest.raises(UnauthenticatedError):
            await verifier.principal(old)
