"""Signing in, on a real store: who is let in, who is not, and that nobody can tell why."""

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.stack import Stack
from goodstrace.query.v1 import login_pb2
from services.query.accounts import challenges
from services.query.accounts.attempts import UNKNOWN
from services.query.accounts.errors import BusyError, ChallengedError, LockedError
from services.query.accounts.passwords import MAX_SENT_BYTES
from services.runtime.access.settings import LoginSettings
from services.runtime.access.values import NOBODY, AccountStatus, Principal, Role
from services.runtime.blocking import Block
from services.runtime.call_errors import InvalidRequestError
from services.runtime.errors import UnavailableError
from services.runtime.merchants.errors import UnauthenticatedError
from tests.conftest import Names
from tests.integration.login_world import PASSWORD, World, prepared, with_totp, world

__all__ = ["world"]  # the fixture

NEW = "eleven dry otters whistle"


async def test_who_signs_in_gets_tokens_that_count_and_is_recorded_first(world: World) -> None:
    await world.account("ann", (Role.AUDITOR, Role.MERCHANT), merchant=7)
    answer = await world.sign_in("ANN", address="192.0.2.77")
    who = await world.who(answer.tokens)
    assert (who.name, who.merchant) == ("ann", 7)
    assert who.roles == {Role.AUDITOR, Role.MERCHANT}
    assert answer.tokens.expires_in_s == 300
    (browse,) = world.recorder.browses
    assert (browse.kind, browse.user, browse.merchant, browse.means, browse.network, browse.refused) == (
        "sign-in",
        "ann",
        7,
        "token",
        "192.0.2.0/24",
        "",
    )
    said = await world.call(world.login.login.WhoAmI, login_pb2.WhoAmIRequest(), who)
    assert (said.name, list(said.roles), said.session) == ("ann", ["auditor", "merchant"], who.session)
    assert not said.change_password


async def test_nothing_leaves_that_is_not_recorded(world: World) -> None:
    ann = await world.account("ann")
    world.recorder.away = True
    with pytest.raises(UnavailableError):
        await world.sign_in("ann")
    assert await world.mongo.database["sessions"].count_documents({"account": ann.id}) == 0


async def test_all_refusals_are_one_and_cost_one_hash(world: World) -> None:
    await world.account("ann")
    await world.account("off", status=AccountStatus.DISABLED)
    totp = await with_totp(world, "tom")
    assert totp
    told = set()
    for name, password, code in (
        ("nobody", PASSWORD, ""),
        ("ann", "wrong", ""),
        ("off", PASSWORD, ""),
        ("tom", PASSWORD, "000000"),
        ("tom", PASSWORD, ""),
        ("tom", "wrong", "000000"),
        ("", "", ""),
    ):
        before = world.login.hasher.verified
        with pytest.raises(UnauthenticatedError) as refused:
            await world.sign_in(name, password, code=code)
        assert world.login.hasher.verified == before + 1, name
        told.add((type(refused.value), str(refused.value)))
    assert len(told) == 1
    reasons = [each.refused for each in world.recorder.browses if each.refused]
    assert reasons == [
        "unknown-name",
        "wrong-password",
        "disabled",
        "wrong-code",
        "wrong-code",
        "wrong-password",
        "unknown-name",
    ]


async def test_what_an_unknown_caller_typed_is_kept_nowhere(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = "my-password-in-the-wrong-field"
    for _ in range(7):
        with pytest.raises((UnauthenticatedError, LockedError)):
            await world.sign_in(typed, "ann", address="192.0.2.1")
    assert {each.user for each in world.recorder.browses} == {UNKNOWN}
    assert typed not in repr(world.recorder.browses)
    for name in await world.mongo.database.list_collection_names():
        async for row in world.mongo.database[name].find({}):
            assert typed not in repr(row)
    printed = capsys.readouterr()
    assert "not let in" in printed.out
    assert typed not in printed.out + printed.err


async def test_too_long_is_said_before_anything_is_asked(world: World) -> None:
    for members in (
        {"name": "n" * 129},
        {"name": "ann", "password": "p" * (MAX_SENT_BYTES + 1)},
        {"name": "ann", "code": "1" * 65},
        {"name": "ann", "device_token": "d" * 513},
    ):
        with pytest.raises(InvalidRequestError):
            await world.call(world.login.login.SignIn, login_pb2.SignInRequest(**members))  # type: ignore[arg-type]
    assert world.login.hasher.verified == 0


async def test_a_locked_account_is_locked_for_one_network_and_only_for_a_time(world: World) -> None:
    await world.account("ann")
    device = (await world.sign_in("ann", address="192.0.2.9")).device_token
    for _ in range(5):
        with pytest.raises(UnauthenticatedError):
            await world.sign_in("ann", "wrong", address="192.0.2.1")
    with pytest.raises(LockedError) as locked:
        await world.sign_in("ann", address="192.0.2.200")
    assert locked.value.retry_after_s == pytest.approx(30, abs=1)
    await world.sign_in("ann", address="198.51.100.1")
    await world.sign_in("ann", address="192.0.2.1", device_token=device)
    world.later(31)
    with pytest.raises(UnauthenticatedError):
        await world.sign_in("ann", "wrong", address="192.0.2.1")
    with pytest.raises(LockedError) as locked:
        await world.sign_in("ann", address="192.0.2.1")
    assert locked.value.retry_after_s == pytest.approx(60, abs=1)
    world.later(61)
    await world.sign_in("ann", address="192.0.2.1")
    with pytest.raises(UnauthenticatedError):
        await world.sign_in("ann", "wrong", address="192.0.2.1")


async def test_a_hundred_at_a_time_are_no_more_than_a_hundred_in_a_row(world: World) -> None:
    await world.account("ann")
    other = world.process()
    tries = [
        world.sign_in("ann", "wrong", "192.0.2.1", login=(world.login, other)[number % 2])
        for number in range(40)
    ]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    hashed = sum(isinstance(each, UnauthenticatedError) for each in answers)
    assert hashed == world.login.hasher.verified + other.hasher.verified <= 5
    assert sum(isinstance(each, LockedError) for each in answers) == 40 - hashed
    other.hasher.close()


async def test_over_a_threshold_strangers_must_work_and_nobody_is_refused(world: World) -> None:
    await world.account("ann")
    device = (await world.sign_in("ann")).device_token
    for _ in range(20):
        with pytest.raises(UnauthenticatedError):
            await world.sign_in("ann", "wrong")
    with pytest.raises(ChallengedError) as asked:
        await world.sign_in("ann")
    challenge = asked.value.details[0]
    assert challenge.zero_bits == 4
    await world.sign_in("ann", solve=True)
    await world.sign_in("ann", device_token=device)
    before = world.login.hasher.verified
    for wrong in (
        {"challenge": challenge.challenge, "counter": _unsolved(challenge)},
        {"challenge": "", "counter": 0},
        {"challenge": challenge.challenge[:-2] + "AA", "counter": 0},
    ):
        with pytest.raises(ChallengedError):
            await world.sign_in("ann", solution=login_pb2.ChallengeSolution(**wrong))
    assert world.login.hasher.verified == before


async def test_strangers_in_a_blocked_network_must_work_and_nobody_is_refused(world: World) -> None:
    """As the watch blocks a network from which passwords were guessed: its neighbours are no guessers."""
    await world.account("ann")
    device = (await world.sign_in("ann", address="192.0.2.9")).device_token
    await world.blocks.put(Block("network:192.0.2.0/24", world.now_ms + 900_000, reason="guessing-network"))
    hashed = world.login.hasher.verified
    for name in ("ann", "nobody"):
        with pytest.raises(ChallengedError) as asked:
            await world.sign_in(name, address="192.0.2.200")
        assert asked.value.details[0].zero_bits == 4
        told = world.recorder.browses[-1]
        assert (told.refused, told.network, told.user) == ("blocked-network", "192.0.2.0/24", UNKNOWN)
    assert world.login.hasher.verified == hashed, "a guess that nobody worked for is none"
    await world.sign_in("ann", address="192.0.2.200", solve=True)
    await world.sign_in("ann", address="192.0.2.200", device_token=device)
    await world.sign_in("ann", address="198.51.100.1")
    with pytest.raises(UnauthenticatedError):
        await world.sign_in("ann", "wrong", address="192.0.2.200", solve=True)
    assert world.recorder.browses[-1].refused == "wrong-password"
    await world.blocks.lift("network:192.0.2.0/24")
    await world.sign_in("ann", address="192.0.2.200")


async def test_who_never_works_does_not_make_a_block_last(world: World) -> None:
    """However many attempts there are, and for whichever account: what is counted as failed would have the network blocked again."""
    await world.account("ann")
    for _ in range(20):
        with pytest.raises(UnauthenticatedError):
            await world.sign_in("ann", "wrong")
    await world.login.attempts.flush()
    await world.blocks.put(Block("network:192.0.2.0/24", world.now_ms + 900_000, reason="guessing-network"))
    world.recorder.browses.clear()
    for name in ("ann", "ann", *("nobody" for _ in range(LoginSettings().network_per_minute))):
        with pytest.raises(ChallengedError):
            await world.sign_in(name, address="192.0.2.200")
    await world.login.attempts.flush()
    assert {each.refused for each in world.recorder.browses} == {"blocked-network"}


async def test_a_solution_counts_once_for_one_name_and_not_for_long(world: World) -> None:
    for name in ("ann", "bob"):
        await world.account(name)
        for _ in range(20):
            with pytest.raises(UnauthenticatedError):
                await world.sign_in(name, "wrong")

    async def solved() -> login_pb2.ChallengeSolution:
        with pytest.raises(ChallengedError) as asked:
            await world.sign_in("ann")
        each = asked.value.details[0]
        counter = challenges.solve(each.challenge, each.zero_bits)
        return login_pb2.ChallengeSolution(challenge=each.challenge, counter=counter)

    solution = await solved()
    with pytest.raises(ChallengedError):
        await world.sign_in("bob", solution=solution)
    with pytest.raises(UnauthenticatedError):
        await world.sign_in("ann", "wrong", solution=solution)
    with pytest.raises(ChallengedError):
        await world.sign_in("ann", solution=solution)
    solution = await solved()
    world.later(301)
    with pytest.raises(ChallengedError):
        await world.sign_in("ann", solution=solution)


async def test_a_session_is_never_one_that_a_caller_chose(world: World) -> None:
    ann = await world.account("ann")
    mine = await world.who((await world.sign_in("ann")).tokens)
    planted = Principal(account=ann.id, name="ann", session="ab" * 16)
    seen = {mine.session}
    for who in (mine, planted, NOBODY):
        request = login_pb2.SignInRequest(name="ann", password=PASSWORD)
        answer = await world.call(world.login.login.SignIn, request, who)
        again = await world.who(answer.tokens)
        assert again.session not in seen | {planted.session}
        assert answer.tokens.refresh_token.split("_")[1] == again.session
        seen.add(again.session)
    with pytest.raises(UnauthenticatedError):  # a refresh token of an ID that somebody made up
        await world.refresh(f"gsr_{planted.session}_{'A' * 43}_{'A' * 22}")


async def test_a_refresh_token_counts_once_and_ends_the_session_when_it_comes_again(world: World) -> None:
    await world.account("ann")
    first = (await world.sign_in("ann")).tokens
    second = await world.refresh(first.refresh_token)
    third = await world.refresh(second.refresh_token)
    await world.who(third)
    with pytest.raises(UnauthenticatedError):
        await world.refresh(first.refresh_token)
    assert world.recorder.browses[-1].refused == "reused-token"
    assert world.recorder.browses[-1].user == "ann"
    for tokens in (third, second):
        with pytest.raises(UnauthenticatedError):
            await world.refresh(tokens.refresh_token)
        with pytest.raises(UnauthenticatedError):
            await world.who(tokens)


async def test_a_client_that_lost_an_answer_may_ask_again_until_the_newer_token_was_used(
    world: World,
) -> None:
    await world.account("ann")
    first = (await world.sign_in("ann")).tokens
    lost = await world.refresh(first.refresh_token)
    world.later(10)
    again = await world.refresh(first.refresh_token)
    await world.who(await world.refresh(again.refresh_token))
    with pytest.raises(UnauthenticatedError):
        await world.refresh(lost.refresh_token)
    with pytest.raises(UnauthenticatedError):
        await world.who(again)

    first = (await world.sign_in("ann")).tokens
    await world.refresh(first.refresh_token)
    world.later(31)
    with pytest.raises(UnauthenticatedError):
        await world.refresh(first.refresh_token)


async def test_a_session_ends_when_it_is_not_used_and_at_the_latest(world: World) -> None:
    await world.account("ann")
    tokens = (await world.sign_in("ann")).tokens
    world.later(14 * 86_400)
    with pytest.raises(UnauthenticatedError):
        await world.refresh(tokens.refresh_token)
    tokens = (await world.sign_in("ann")).tokens
    for _ in range(2):
        world.later(13 * 86_400)
        tokens = await world.refresh(tokens.refresh_token)
    world.later(4 * 86_400)
    with pytest.raises(UnauthenticatedError):
        await world.refresh(tokens.refresh_token)


async def test_signing_out_of_this_of_another_and_everywhere(world: World) -> None:
    ann = await world.account("ann")
    await world.account("bob")
    bob = await world.who((await world.sign_in("bob")).tokens)
    answers = [(await world.sign_in("ann")).tokens for _ in range(4)]
    one, two, three, four = [await world.who(each) for each in answers]
    sign_out, listing = world.login.login.SignOut, world.login.login.ListSessions
    listed = await world.call(listing, login_pb2.ListSessionsRequest(), two)
    assert [each.id for each in listed.sessions if each.current] == [two.session]
    assert len(listed.sessions) == 4
    foreign = login_pb2.SignOutRequest(session=one.session)
    assert (await world.call(sign_out, foreign, bob)).ended == 0
    assert (await world.call(sign_out, login_pb2.SignOutRequest(), one)).ended == 1
    assert (await world.call(sign_out, login_pb2.SignOutRequest(session=two.session), three)).ended == 1
    await world.who(answers[2])
    assert (await world.call(sign_out, login_pb2.SignOutRequest(everywhere=True), three)).ended == 2
    for tokens in answers:
        with pytest.raises(UnauthenticatedError):
            await world.who(tokens)
        with pytest.raises(UnauthenticatedError):
            await world.refresh(tokens.refresh_token)
    account = await world.reader.account(ann.id)
    assert account is not None
    assert account.valid_from_ms == world.now_ms + 1
    assert four.session
    with pytest.raises(UnauthenticatedError):
        await world.call(sign_out, login_pb2.SignOutRequest(), NOBODY)


async def test_a_full_queue_is_said_and_counts_for_nothing(
    stack: Stack, names: Names, tmp_path: Path
) -> None:
    async with prepared(
        stack, names, tmp_path, hash_threads=1, hash_queue=4, hash_memory_kib=16_384
    ) as world:
        await world.account("ann")
        device = (await world.sign_in("ann")).device_token
        flood = [asyncio.create_task(world.sign_in(f"nobody-{number}", "x")) for number in range(30)]
        await asyncio.sleep(0.05)
        await world.sign_in("ann", device_token=device)
        answers = await asyncio.gather(*flood, return_exceptions=True)
        kinds = {type(each) for each in answers}
        assert kinds <= {UnauthenticatedError, BusyError, ChallengedError}
        assert kinds - {UnauthenticatedError}
        await world.sign_in("ann", solve=True)


async def test_how_long_refusals_take(
    stack: Stack, names: Names, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    async with prepared(
        stack,
        names,
        tmp_path,
        hash_memory_kib=19_456,
        hash_passes=2,
        network_per_minute=1000,
        unknown_failures=1000,
    ) as world:
        await world.account("ann")
        await with_totp(world, "tom")
        await world.account("off", status=AccountStatus.DISABLED)
        asked = {
            "unknown name": ("nobody", PASSWORD),
            "wrong password": ("ann", "wrong"),
            "disabled": ("off", PASSWORD),
            "wrong code": ("tom", PASSWORD),
        }
        seconds: dict[str, list[float]] = {each: [] for each in asked}
        for _ in range(15):
            for each, (name, password) in asked.items():
                began = time.perf_counter()
                with pytest.raises(UnauthenticatedError):
                    await world.sign_in(name, password, code="000000")
                seconds[each].append(time.perf_counter() - began)
                await world.login.settled()
        medians = {each: statistics.median(taken) * 1000 for each, taken in seconds.items()}
        said = ", ".join(f"{each} {taken:.1f} ms" for each, taken in medians.items())
        tell(f"sign-in refused, medians of 15: {said}")


def _unsolved(challenge: login_pb2.Challenge) -> int:
    return next(
        each
        for each in range(1000)
        if not challenges.is_solved(challenge.challenge, each, challenge.zero_bits)
    )
