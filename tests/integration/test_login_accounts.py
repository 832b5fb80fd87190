"""Own accounts, operators and their accounts, programs, and the keys that sign, on a real store."""

import asyncio
from typing import Any

import pytest
from joserfc import jws

from goodstrace.query.v1 import login_pb2
from services.query.accounts.errors import LockedError
from services.runtime.access.current import acting
from services.runtime.access.networks import network_of
from services.runtime.access.values import NOBODY, Principal, Role
from services.runtime.blocking import Block
from services.runtime.call_errors import (
    AlreadyExistsError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
)
from services.runtime.merchants.errors import ForbiddenError, UnauthenticatedError
from tests.integration.login_world import (
    PASSWORD,
    PROVIDER_HOST,
    Caller,
    World,
    new_address,
    with_totp,
    world,
)

__all__ = ["world"]  # the fixture

NEW = "eleven dry otters whistle"


async def test_a_temporary_password_is_good_for_changing_it_and_no_more(world: World) -> None:
    await world.account("ann", (Role.OPERATOR,), change_password=True)
    tokens = (await world.sign_in("ann")).tokens
    who = await world.who(tokens)
    assert who.roles == frozenset()
    assert (await world.call(world.login.login.WhoAmI, login_pb2.WhoAmIRequest(), who)).change_password
    change = world.login.login.ChangePassword
    for new, why in (
        ("short", "12 to 128"),
        ("x" * 129, "12 to 128"),
        ("password1234", "tried first"),
        (PASSWORD, "so far"),
    ):
        request = login_pb2.ChangePasswordRequest(password=PASSWORD, new_password=new)
        with pytest.raises(InvalidRequestError, match=why):
            await world.call(change, request, who)
    request = login_pb2.ChangePasswordRequest(password=PASSWORD, new_password=NEW)
    answer = await world.call(change, request, who)
    with pytest.raises(UnauthenticatedError):
        await world.who(tokens)
    world.later(0.001)
    assert (await world.who(answer.tokens)).roles == {Role.OPERATOR}
    with pytest.raises(UnauthenticatedError):
        await world.sign_in("ann", PASSWORD)
    await world.sign_in("ann", NEW)


async def test_a_stolen_token_is_not_enough_to_guess_the_password_with(world: World) -> None:
    await world.account("ann")
    who = await world.who((await world.sign_in("ann")).tokens)
    request = login_pb2.ChangePasswordRequest(password="wrong", new_password=NEW)
    for _ in range(5):
        with pytest.raises(UnauthenticatedError):
            await world.call(world.login.login.ChangePassword, request, who)
    with pytest.raises(LockedError):
        await world.call(world.login.login.ChangePassword, request, who)


async def test_codes_count_once_each(world: World) -> None:
    totp, recovery = await with_totp(world, "ann")
    row = await world.mongo.database["accounts"].find_one({"name": "ann"})
    assert row is not None
    assert totp.byte_secret() not in bytes(row["totp_secret"])
    with pytest.raises(UnauthenticatedError):  # the one by which it was confirmed
        await world.sign_in("ann", code=totp.at(world.now_ms // 1000))
    world.later(30)
    code = totp.at(world.now_ms // 1000)
    together = [world.sign_in("ann", code=code) for _ in range(3)]
    answers = await asyncio.gather(*together, return_exceptions=True)
    assert sum(isinstance(each, login_pb2.SignInResponse) for each in answers) == 1
    world.later(3600)
    await world.sign_in("ann", code=recovery[3].upper().replace("-", " "))
    with pytest.raises(UnauthenticatedError):
        await world.sign_in("ann", code=recovery[3])
    await world.sign_in("ann", code=recovery[4])


async def test_whoever_knows_the_password_has_few_tries_at_codes_wherever_they_come_from(
    world: World,
) -> None:
    totp, _ = await with_totp(world, "ann")
    other = world.process()
    for number in range(5):
        with pytest.raises(UnauthenticatedError):
            await world.sign_in("ann", code="000000", login=(world.login, other)[number % 2])
        await world.login.settled()
        await other.settled()
    world.later(29)
    with pytest.raises(UnauthenticatedError):
        await world.sign_in("ann", code=totp.at(world.now_ms // 1000))
    await world.login.settled()
    world.later(100)
    await world.sign_in("ann", code=totp.at(world.now_ms // 1000), login=other)
    other.hasher.close()


async def test_codes_are_removed_with_password_and_code(world: World) -> None:
    totp, recovery = await with_totp(world, "ann")
    world.later(30)
    who = await world.who((await world.sign_in("ann", code=totp.at(world.now_ms // 1000))).tokens)
    remove = world.login.login.RemoveTotp
    with pytest.raises(UnauthenticatedError):
        await world.call(remove, login_pb2.RemoveTotpRequest(password=PASSWORD, code="000000"), who)
    with pytest.raises(InvalidRequestError):
        await world.call(world.login.login.BeginTotp, login_pb2.BeginTotpRequest(password=PASSWORD), who)
    await world.call(remove, login_pb2.RemoveTotpRequest(password=PASSWORD, code=recovery[0]), who)
    await world.sign_in("ann")


async def test_a_hash_of_other_parameters_is_made_anew(world: World) -> None:
    await world.account("ann")
    before = await world.mongo.database["accounts"].find_one({"name": "ann"})
    world.settings["hash_passes"] = 2
    other = world.process()
    await world.sign_in("ann", login=other)
    after = await world.mongo.database["accounts"].find_one({"name": "ann"})
    assert before is not None
    assert after is not None
    assert "t=1" in before["password"]
    assert "t=2" in after["password"]
    await world.sign_in("ann", login=other)
    other.hasher.close()


OPERATOR = Principal(name="opal", roles=frozenset({Role.OPERATOR}))


async def test_what_operators_do_takes_hold_at_once(world: World) -> None:
    operator = OPERATOR
    service = world.login.accounts
    wanted = login_pb2.Account(name="ann", kind="user", roles=["shopper"])
    made = await world.call(service.CreateAccount, login_pb2.CreateAccountRequest(account=wanted), operator)
    with pytest.raises(AlreadyExistsError):
        await world.call(service.CreateAccount, login_pb2.CreateAccountRequest(account=wanted), operator)
    tokens = (await world.sign_in("ann", made.credential)).tokens
    assert (await world.who(tokens)).roles == frozenset()
    changes: list[tuple[Any, Any]] = [
        (service.UpdateAccount, login_pb2.UpdateAccountRequest(account="ann", roles=["auditor"])),
        (service.ResetCredential, login_pb2.ResetCredentialRequest(account=made.account.id)),
        (service.UpdateAccount, login_pb2.UpdateAccountRequest(account="ann", status="disabled")),
    ]
    password = made.credential
    for method, request in changes:
        tokens = (await world.sign_in("ann", password)).tokens
        world.later(1)
        answer = await world.call(method, request, operator)
        password = getattr(answer, "credential", password) or password
        with pytest.raises(UnauthenticatedError):
            await world.who(tokens)
        with pytest.raises(UnauthenticatedError):
            await world.refresh(tokens.refresh_token)
        world.later(1)
    with pytest.raises(UnauthenticatedError):
        await world.sign_in("ann", password)
    await world.call(service.DeleteAccount, login_pb2.DeleteAccountRequest(account="ann"), operator)
    for name in ("accounts", "sessions"):
        assert await world.mongo.database[name].count_documents({}) == 0


async def test_accounts_must_make_sense(world: World) -> None:
    create = world.login.accounts.CreateAccount
    for wrong in (
        {"name": "Ann", "kind": "user", "roles": ["shopper"]},
        {"name": "ann", "kind": "robot", "roles": ["shopper"]},
        {"name": "ann", "kind": "user", "roles": []},
        {"name": "ann", "kind": "user", "roles": ["king"]},
        {"name": "ann", "kind": "user", "roles": ["merchant"]},
        {"name": "ann", "kind": "user", "roles": ["shopper"], "merchant": 3},
        {"name": "ann", "kind": "user", "roles": ["platform"]},
        {"name": "ann", "kind": "user", "roles": ["shopper"], "certificate": "x"},
    ):
        request = login_pb2.CreateAccountRequest(account=login_pb2.Account(**wrong))
        with pytest.raises(InvalidRequestError):
            await world.call(create, request, OPERATOR)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("operator", InvalidRequestError),
        (f"alice@{PROVIDER_HOST}", InvalidRequestError),
        ("alice", AlreadyExistsError),
    ],
)
async def test_nobody_gets_an_account_by_which_records_know_somebody_else(
    world: World, name: str, error: type[Exception]
) -> None:
    """Who has a name may list the looks of that name: no account is made of one that others have or had."""
    service = world.login.accounts
    await world.account("alice")
    await world.sign_in("alice")
    await world.call(service.DeleteAccount, login_pb2.DeleteAccountRequest(account="alice"), OPERATOR)
    wanted = login_pb2.Account(name=name, kind="user", roles=["shopper"])
    staff = Principal(name="sam", account="f" * 32, roles=frozenset({Role.MERCHANT}), merchant=7)
    for who, account in ((OPERATOR, wanted), (staff, login_pb2.Account(name=name))):
        with pytest.raises(error):
            await world.call(service.CreateAccount, login_pb2.CreateAccountRequest(account=account), who)
    assert await world.mongo.database["accounts"].count_documents({}) == 0


async def test_accounts_come_in_pages_by_name(world: World) -> None:
    for number in range(7):
        await world.account(f"user-{number}")
    found, token = [], ""
    while True:
        request = login_pb2.ListAccountsRequest(page_size=3, page_token=token)
        page = await world.call(world.login.accounts.ListAccounts, request, OPERATOR)
        found += [each.name for each in page.accounts]
        if not (token := page.next_page_token):
            break
    assert found == [f"user-{number}" for number in range(7)]


async def test_programs_by_secret_and_by_certificate(world: World) -> None:
    wanted = login_pb2.Account(
        name="shop", kind="service", roles=["platform"], certificate="spiffe://example/shop"
    )
    create = login_pb2.CreateAccountRequest(account=wanted)
    made = await world.call(world.login.accounts.CreateAccount, create, OPERATOR)

    async def issue(client_id: str, secret: str, certificates: tuple[str, ...] = ()) -> login_pb2.Tokens:
        request = login_pb2.IssueTokenRequest(client_id=client_id, client_secret=secret)
        with acting(NOBODY, network=network_of(new_address())):
            answer = await world.login.login.IssueToken(request, Caller(certificates))  # type: ignore[arg-type]
        return answer.tokens

    tokens = await issue("shop", made.credential)
    who = await world.who(tokens)
    assert who.roles == {Role.PLATFORM}
    assert not who.session + tokens.refresh_token
    reset = login_pb2.ResetCredentialRequest(account="shop")
    second = (await world.call(world.login.accounts.ResetCredential, reset, OPERATOR)).credential
    world.later(1)
    for secret in (made.credential, second):
        await world.who(await issue("shop", secret))
    third = (await world.call(world.login.accounts.ResetCredential, reset, OPERATOR)).credential
    await issue("shop", third)
    by_certificate = await issue("", "", ("other", "spiffe://example/shop"))
    world.later(1)
    assert by_certificate.access_token
    await world.account("ann")
    for client_id, secret, certificates in (
        ("shop", made.credential, ()),
        ("shop", "", ("other",)),
        ("", "", ("other",)),
        ("", "", ()),
        ("ann", PASSWORD, ()),
        ("nobody", third, ()),
    ):
        with pytest.raises(UnauthenticatedError):
            await issue(client_id, secret, certificates)
    with pytest.raises(UnauthenticatedError):
        await world.sign_in("shop", third)
    with pytest.raises(NotAllowedError):
        await world.call(world.login.login.ListSessions, login_pb2.ListSessionsRequest(), who)


async def test_programs_in_a_blocked_network_go_on(world: World) -> None:
    """Their secrets are 256 random bits, which nobody guesses: there is no work that would spare anything."""
    wanted = login_pb2.Account(name="shop", kind="service", roles=["platform"])
    made = await world.call(
        world.login.accounts.CreateAccount, login_pb2.CreateAccountRequest(account=wanted), OPERATOR
    )
    await world.blocks.put(Block("network:192.0.2.0/24", world.now_ms + 900_000))
    request = login_pb2.IssueTokenRequest(client_id="shop", client_secret=made.credential)
    with acting(NOBODY, network=network_of("192.0.2.7")):
        answer = await world.login.login.IssueToken(request, Caller())  # type: ignore[arg-type]
    assert (await world.who(answer.tokens)).roles == {Role.PLATFORM}


async def test_keys_change_while_all_goes_on_and_a_revoked_one_does_not_count(world: World) -> None:
    await world.account("ann")
    old = (await world.sign_in("ann")).tokens
    following = world.files.rotate(world.now_ms)
    assert world.files.rotate(world.now_ms) == following
    world.login.ring.read_again()
    assert following.kid.encode() in world.login.ring.key_set()
    still = (await world.sign_in("ann")).tokens
    assert _kid(still) == _kid(old) != following.kid
    world.later(601)
    new = (await world.sign_in("ann")).tokens
    assert _kid(new) == following.kid
    await world.who(new)
    world.later(300 + 121)
    world.login.ring.read_again()
    assert _kid(old).encode() not in world.login.ring.key_set()
    assert world.files.retire(world.now_ms) == [_kid(old)]
    fresh = (await world.sign_in("ann")).tokens
    await world.who(fresh)
    replaced = world.files.revoke(_kid(fresh), world.now_ms)
    with pytest.raises(UnauthenticatedError, match="not known here"):
        await world.who(fresh)
    world.login.ring.read_again()
    after = (await world.sign_in("ann")).tokens
    assert _kid(after) == replaced.kid
    await world.who(after)


def _kid(tokens: login_pb2.Tokens) -> str:
    return str(jws.extract_compact(tokens.access_token.encode()).headers()["kid"])


async def test_a_merchants_people_keep_their_own_and_see_no_others(world: World) -> None:
    service = world.login.accounts

    def person(number: int) -> Principal:
        return Principal(
            account=f"{number:032x}", name=f"m{number}", roles=frozenset({Role.MERCHANT}), merchant=number
        )

    for name, more in (
        ("theirs", {"kind": "user", "roles": ["merchant"], "merchant": 8}),
        ("program", {"kind": "service", "roles": ["merchant"], "merchant": 7}),
        ("both", {"kind": "user", "roles": ["merchant", "auditor"], "merchant": 7}),
        ("shopper", {"kind": "user", "roles": ["shopper"]}),
    ):
        request = login_pb2.CreateAccountRequest(account=login_pb2.Account(name=name, **more))
        await world.call(service.CreateAccount, request, OPERATOR)
    made = await world.call(
        service.CreateAccount,
        login_pb2.CreateAccountRequest(account=login_pb2.Account(name="bea")),
        person(7),
    )
    assert (made.account.kind, list(made.account.roles), made.account.merchant) == ("user", ["merchant"], 7)
    tokens = (await world.sign_in("bea", made.credential)).tokens
    listed = await world.call(service.ListAccounts, login_pb2.ListAccountsRequest(), person(7))
    assert [each.name for each in listed.accounts] == ["bea"]
    for name in ("theirs", "program", "both", "shopper", "nobody"):
        for method, request in (
            (service.GetAccount, login_pb2.GetAccountRequest(account=name)),
            (service.UpdateAccount, login_pb2.UpdateAccountRequest(account=name, status="disabled")),
            (service.ResetCredential, login_pb2.ResetCredentialRequest(account=name)),
        ):
            with pytest.raises(NotFoundError):
                await world.call(method, request, person(7))
    for wrong in (
        {"name": "x", "roles": ["operator"]},
        {"name": "x", "roles": ["merchant", "auditor"]},
        {"name": "x", "merchant": 8},
        {"name": "x", "kind": "service"},
        {"name": "x", "certificate": "spiffe://example/x"},
    ):
        request = login_pb2.CreateAccountRequest(account=login_pb2.Account(**wrong))
        with pytest.raises(ForbiddenError):
            await world.call(service.CreateAccount, request, person(7))
    for change in ({"roles": ["operator"]}, {"merchant": 8}, {"certificate": "x"}):
        with pytest.raises(ForbiddenError):
            await world.call(
                service.UpdateAccount, login_pb2.UpdateAccountRequest(account="bea", **change), person(7)
            )
    bea = Principal(account=made.account.id, name="bea", roles=frozenset({Role.MERCHANT}), merchant=7)
    disable = login_pb2.UpdateAccountRequest(account="bea", status="disabled")
    for method, request in (
        (service.UpdateAccount, disable),
        (service.ResetCredential, login_pb2.ResetCredentialRequest(account="bea")),
    ):
        with pytest.raises(ForbiddenError):
            await world.call(method, request, bea)
    api_key = Principal(name="merchant:7", roles=frozenset({Role.MERCHANT}), merchant=7)
    for who in (api_key, NOBODY, Principal(account="00", name="ann", roles=frozenset({Role.SHOPPER}))):
        with pytest.raises(ForbiddenError):
            await world.call(service.ListAccounts, login_pb2.ListAccountsRequest(), who)
    first = await world.call(service.ListAccounts, login_pb2.ListAccountsRequest(page_size=2), OPERATOR)
    request = login_pb2.ListAccountsRequest(page_token=first.next_page_token)
    with pytest.raises(InvalidRequestError):  # a token of another's list opens nothing
        await world.call(service.ListAccounts, request, person(7))
    world.later(1)
    await world.call(service.UpdateAccount, disable, person(7))
    with pytest.raises(UnauthenticatedError):
        await world.who(tokens)
