"""Changes of accounts are recorded before they are made: by whom, of whom, and what they give."""

from collections.abc import Awaitable, Callable
from typing import Any

import pyotp
import pytest

from goodstrace.query.v1 import login_pb2
from services.query.accounts.account_store import AccountStore
from services.query.accounts.changes import ACCOUNTS, key_of
from services.runtime.access.values import Principal, Role
from services.runtime.call_errors import AlreadyExistsError, InvalidRequestError, NotFoundError
from services.runtime.errors import UnavailableError
from services.runtime.merchants.errors import ForbiddenError, UnauthenticatedError
from services.sealing.browse import Browse, BrowseKind
from tests.integration.login_world import PASSWORD, World, with_totp, world

__all__ = ["world"]  # the fixture

OPERATOR = Principal(name="opal", account="0" * 32, roles=frozenset({Role.OPERATOR}))
STAFF = Principal(name="sam", account="f" * 32, roles=frozenset({Role.MERCHANT}), merchant=7)
NEW = "eleven dry otters whistle"


def _changes(world: World) -> list[Browse]:
    return [each for each in world.recorder.browses if each.kind is BrowseKind.ACCOUNT_CHANGE]


async def test_an_operator_who_makes_itself_an_auditor_is_recorded_as_having_done_so(world: World) -> None:
    own = await world.account("opal", (Role.OPERATOR,))
    who = await world.who((await world.sign_in("opal")).tokens)
    update = login_pb2.UpdateAccountRequest(account="opal", roles=["operator", "auditor"])
    await world.call(world.login.accounts.UpdateAccount, update, who)
    (change,) = _changes(world)
    assert (change.user, change.method) == ("opal", "UpdateAccount")
    assert change.asked_user == "opal"
    assert change.query == "roles=auditor,operator"
    assert change.keys == (ACCOUNTS, key_of(own.id))


async def test_what_each_change_gives_is_said_and_nothing_secret(world: World) -> None:
    service = world.login.accounts
    wanted = login_pb2.Account(name="ann", kind="user", roles=["merchant"], merchant=7)
    made = await world.call(service.CreateAccount, login_pb2.CreateAccountRequest(account=wanted), OPERATOR)
    update = login_pb2.UpdateAccountRequest(account="ann", roles=["shopper"], merchant=0)
    await world.call(service.UpdateAccount, update, OPERATOR)
    reset = await world.call(
        service.ResetCredential, login_pb2.ResetCredentialRequest(account="ann"), OPERATOR
    )
    await world.call(service.DeleteAccount, login_pb2.DeleteAccountRequest(account="ann"), OPERATOR)
    assert [(each.user, each.method, each.query) for each in _changes(world)] == [
        ("opal", "CreateAccount", "kind=user roles=merchant merchant=7 status=active"),
        ("opal", "UpdateAccount", "roles=shopper merchant=0"),
        ("opal", "ResetCredential", ""),
        ("opal", "DeleteAccount", ""),
    ]
    assert {each.keys for each in _changes(world)} == {(ACCOUNTS, key_of(made.account.id))}
    told = repr(_changes(world))
    assert made.credential not in told
    assert reset.credential not in told


async def test_a_certificate_s_name_cannot_read_like_roles(world: World) -> None:
    service = world.login.accounts
    made = login_pb2.Account(name="robot", kind="service", roles=["shopper"])
    await world.call(service.CreateAccount, login_pb2.CreateAccountRequest(account=made), OPERATOR)
    for certificate in ("robot.example roles=auditor", ""):
        update = login_pb2.UpdateAccountRequest(account="robot", certificate=certificate)
        await world.call(service.UpdateAccount, update, OPERATOR)
    assert [each.query for each in _changes(world)[1:]] == [
        "certificate='robot.example roles=auditor'",
        "certificate=''",
    ]


async def test_what_people_change_of_their_own_accounts_is_recorded_too(world: World) -> None:
    totp, _ = await with_totp(world, "ann")
    world.later(60)
    code = totp.at(world.now_ms // 1000)
    who = await world.who((await world.sign_in("ann", code=code)).tokens)
    world.later(60)
    remove = login_pb2.RemoveTotpRequest(password=PASSWORD, code=totp.at(world.now_ms // 1000))
    await world.call(world.login.login.RemoveTotp, remove, who)
    change = login_pb2.ChangePasswordRequest(password=PASSWORD, new_password=NEW)
    await world.call(world.login.login.ChangePassword, change, who)
    assert [(each.user, each.asked_user, each.method) for each in _changes(world)] == [
        ("ann", "ann", "RemoveTotp"),
        ("ann", "ann", "ChangePassword"),
    ]


async def test_a_name_that_no_record_knows_is_not_made_known_and_may_be_used_again(world: World) -> None:
    service = world.login.accounts
    wanted = login_pb2.CreateAccountRequest(
        account=login_pb2.Account(name="ann", kind="user", roles=["shopper"])
    )
    for _ in range(2):
        await world.call(service.CreateAccount, wanted, OPERATOR)
        await world.call(service.DeleteAccount, login_pb2.DeleteAccountRequest(account="ann"), OPERATOR)
    assert [each.asked_user for each in _changes(world)] == [""] * 4


@pytest.mark.parametrize(
    "what", ["create", "update", "reset", "delete", "change-password", "confirm", "remove"]
)
async def test_nothing_is_changed_that_cannot_be_recorded(world: World, what: str) -> None:
    accounts, login = world.login.accounts, world.login.login
    totp, _ = await with_totp(world, "tom")
    await world.account("ann")
    who = await world.who((await world.sign_in("ann")).tokens)
    begun = await world.call(login.BeginTotp, login_pb2.BeginTotpRequest(password=PASSWORD), who)
    world.later(60)
    tom = await world.who((await world.sign_in("tom", code=totp.at(world.now_ms // 1000))).tokens)
    world.later(60)
    at_s = world.now_ms // 1000
    new = login_pb2.Account(name="eve", kind="user", roles=["auditor"])
    password = {"password": PASSWORD, "new_password": NEW}
    calls: dict[str, tuple[Callable[[Any, Any], Awaitable[Any]], Any, Principal]] = {
        "create": (accounts.CreateAccount, login_pb2.CreateAccountRequest(account=new), OPERATOR),
        "update": (
            accounts.UpdateAccount,
            login_pb2.UpdateAccountRequest(account="ann", roles=["auditor"]),
            OPERATOR,
        ),
        "reset": (accounts.ResetCredential, login_pb2.ResetCredentialRequest(account="ann"), OPERATOR),
        "delete": (accounts.DeleteAccount, login_pb2.DeleteAccountRequest(account="ann"), OPERATOR),
        "change-password": (login.ChangePassword, login_pb2.ChangePasswordRequest(**password), who),
        "confirm": (
            login.ConfirmTotp,
            login_pb2.ConfirmTotpRequest(code=pyotp.TOTP(begun.secret).at(at_s)),
            who,
        ),
        "remove": (
            login.RemoveTotp,
            login_pb2.RemoveTotpRequest(password=PASSWORD, code=totp.at(at_s)),
            tom,
        ),
    }
    before = await _rows(world)
    world.recorder.away = True
    with pytest.raises(UnavailableError):
        await world.call(*calls[what])
    assert await _rows(world) == before


async def test_what_changes_nothing_or_may_not_be_is_not_recorded(world: World) -> None:
    service = world.login.accounts
    await world.account("ann")
    await world.account("zoe", (Role.AUDITOR,))
    same = login_pb2.UpdateAccountRequest(account="ann", roles=["shopper"], status="active")
    await world.call(service.UpdateAccount, same, OPERATOR)
    taken = login_pb2.CreateAccountRequest(
        account=login_pb2.Account(name="ann", kind="user", roles=["shopper"])
    )
    first, other = (
        login_pb2.Account(name=name, kind="service", roles=["shopper"], certificate=f"{name}.example")
        for name in ("robot", "hoover")
    )
    for each in (first, other):
        await world.call(service.CreateAccount, login_pb2.CreateAccountRequest(account=each), OPERATOR)
    copy = login_pb2.Account(name="copy", kind="service", roles=["operator"], certificate=first.certificate)
    theirs = login_pb2.UpdateAccountRequest(
        account="hoover", roles=["operator"], certificate=first.certificate
    )
    world.recorder.browses.clear()
    calls: list[tuple[Any, Any, Principal, type[Exception]]] = [
        (
            service.UpdateAccount,
            login_pb2.UpdateAccountRequest(account="ann", roles=["king"]),
            OPERATOR,
            InvalidRequestError,
        ),
        (service.CreateAccount, taken, OPERATOR, AlreadyExistsError),
        (service.CreateAccount, login_pb2.CreateAccountRequest(account=copy), OPERATOR, AlreadyExistsError),
        (service.UpdateAccount, theirs, OPERATOR, AlreadyExistsError),
        (
            service.ResetCredential,
            login_pb2.ResetCredentialRequest(account="nobody"),
            OPERATOR,
            NotFoundError,
        ),
        (service.ResetCredential, login_pb2.ResetCredentialRequest(account="zoe"), STAFF, NotFoundError),
        (
            service.CreateAccount,
            login_pb2.CreateAccountRequest(account=login_pb2.Account(name="eve", roles=["auditor"])),
            STAFF,
            ForbiddenError,
        ),
    ]
    for method, request, who, error in calls:
        with pytest.raises(error):
            await world.call(method, request, who)
    assert _changes(world) == []


async def test_what_is_recorded_is_what_is_written_though_the_account_was_changed_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.account("opal", (Role.AUDITOR, Role.OPERATOR))
    service = world.login.accounts
    back = login_pb2.UpdateAccountRequest(account="opal", roles=["operator"])
    again = login_pb2.UpdateAccountRequest(account="opal", roles=["operator", "auditor"])
    _once(monkeypatch, AccountStore, "named", after=lambda: world.call(service.UpdateAccount, back, OPERATOR))
    told = await world.call(service.UpdateAccount, again, OPERATOR)
    assert sorted(told.account.roles) == ["auditor", "operator"]
    assert [each.query for each in _changes(world)] == ["roles=operator", "roles=auditor,operator"]


@pytest.mark.parametrize("what", ["reset", "update", "delete"])
async def test_a_merchant_s_people_change_no_account_that_got_other_roles_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    await world.account("ann", (Role.MERCHANT,), merchant=7)
    service = world.login.accounts
    other = login_pb2.UpdateAccountRequest(account="ann", roles=["operator"], merchant=0)
    written = "remove" if what == "delete" else "swap"
    _once(
        monkeypatch, AccountStore, written, before=lambda: world.call(service.UpdateAccount, other, OPERATOR)
    )
    calls: dict[str, tuple[Any, Any]] = {
        "reset": (service.ResetCredential, login_pb2.ResetCredentialRequest(account="ann")),
        "update": (
            service.UpdateAccount,
            login_pb2.UpdateAccountRequest(account="ann", status="disabled"),
        ),
        "delete": (service.DeleteAccount, login_pb2.DeleteAccountRequest(account="ann")),
    }
    with pytest.raises(NotFoundError):
        await world.call(*calls[what], STAFF)
    await world.sign_in("ann")


async def test_one_time_codes_that_count_are_not_made_others_by_who_began_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.account("ann")
    login = world.login.login
    who = await world.who((await world.sign_in("ann")).tokens)
    begin = login_pb2.BeginTotpRequest(password=PASSWORD)
    totp = pyotp.TOTP((await world.call(login.BeginTotp, begin, who)).secret)
    confirm = login_pb2.ConfirmTotpRequest(code=totp.at(world.now_ms // 1000))
    _once(monkeypatch, AccountStore, "swap", before=lambda: world.call(login.ConfirmTotp, confirm, who))
    with pytest.raises(UnauthenticatedError):
        await world.call(login.BeginTotp, begin, who)
    world.later(60)
    await world.sign_in("ann", code=totp.at(world.now_ms // 1000))


def _once(
    monkeypatch: pytest.MonkeyPatch,
    of: type,
    name: str,
    *,
    before: Callable[[], Awaitable[Any]] | None = None,
    after: Callable[[], Awaitable[Any]] | None = None,
) -> None:
    """Let something happen before or after the first call of a method."""
    method = getattr(of, name)
    left = [before, after]

    async def called(*args: Any, **named: Any) -> Any:
        first, last = left
        left[:] = [None, None]
        if first is not None:
            await first()
        answer = await method(*args, **named)
        if last is not None:
            await last()
        return answer

    monkeypatch.setattr(of, name, called)


async def _rows(world: World) -> list[dict[str, Any]]:
    """All accounts, without the step of the last code that counted."""
    return [
        {name: value for name, value in each.items() if name != "totp_step"}
        async for each in world.mongo.database["accounts"].find({}).sort("_id", 1)
    ]
