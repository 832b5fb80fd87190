"""The parts of signing in that need no store."""

import asyncio
import base64
import errno
import os
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import hypothesis.strategies as st
import pyotp
import pytest
import structlog
from click.testing import CliRunner
from hypothesis import given
from prometheus_client import CollectorRegistry

from services.query.accounts import challenges, key_ring, one_time_codes, passwords
from services.query.accounts.attempts import SEVERAL, UNKNOWN, Attempts
from services.query.accounts.commands import login_keys
from services.query.accounts.errors import BusyError, KeysError
from services.query.accounts.hashing import Hasher, Turns
from services.query.accounts.key_ring import JWKS, KeyFiles, KeyRing
from services.query.accounts.metrics import LoginMetrics, Outcome
from services.query.accounts.secret_keys import SecretKeys
from services.query.accounts.signing_keys import PUBLISHED_MS, State, new_key
from services.runtime.access.networks import caller_network, first_address, grpc_peer, network_of, networks
from services.runtime.access.settings import LoginSettings
from services.runtime.aead import NONCE_BYTES
from services.sealing.crowd import APART, EACH_S
from tests.memory_recorder import MemoryRecorder

PROXIES = networks("10.0.0.0/8, 2001:db8:1::/48")


@pytest.mark.parametrize(
    ("peer", "forwarded", "network"),
    [
        ("ipv4:192.0.2.77:5000", [], "192.0.2.0/24"),
        ("ipv6:%5B2001:db8::1%5D:5000", [], "2001:db8::/48"),
        ("ipv6:%5B::ffff:192.0.2.1%5D:5000", [], "192.0.2.0/24"),
        ("unix:", [], ""),
        ("unix:/run/socket", ["1.2.3.4"], ""),
        ("ipv4:192.0.2.77:5000", ["203.0.113.9"], "192.0.2.0/24"),
        ("ipv4:10.0.0.1:5000", ["203.0.113.9"], "203.0.113.0/24"),
        ("ipv4:10.0.0.1:5000", ["198.51.100.1, 203.0.113.9, 10.1.1.1"], "203.0.113.0/24"),
        ("ipv4:10.0.0.1:5000", ["198.51.100.1", "203.0.113.9"], "203.0.113.0/24"),
        ("ipv4:10.0.0.1:5000", ["nonsense"], "10.0.0.0/24"),
        ("ipv4:10.0.0.1:5000", [], "10.0.0.0/24"),
        ("ipv6:%5B2001:db8:1::1%5D:5000", ["2001:db8:2::5"], "2001:db8:2::/48"),
    ],
)
def test_from_where_somebody_calls(peer: str, forwarded: list[str], network: str) -> None:
    assert caller_network(grpc_peer(peer), forwarded, PROXIES) == network


@given(st.ip_addresses())
def test_whoever_is_told_an_address_of_a_network_takes_it_for_that_network(
    address: IPv4Address | IPv6Address,
) -> None:
    network = network_of(str(address))
    assert network_of(first_address(network)) == network


@given(st.text(max_size=60), st.lists(st.text(max_size=60), max_size=3))
def test_whatever_is_said_of_the_caller_gives_a_network_or_none(peer: str, forwarded: list[str]) -> None:
    found = caller_network(grpc_peer(peer), forwarded, PROXIES)
    assert not found or networks(found)


@pytest.mark.parametrize(
    "password",
    [
        "short",
        "elevenchars",
        "x" * 129,
        "password1234",
        "iloveyouiloveyou",
        "aaaaaaaaaaaaaaaa",
        "123456789012345",
        "qwertyuiop12",
        "manchesterunited",
        "P@ssw0rd2024!",
        "goodstrace123",
        "ann.example-shop",
        "Ann.Example-Shop",
        "tab\tin the middle of it",
    ],
)
def test_passwords_that_are_tried_first_are_refused(password: str) -> None:
    assert passwords.problem(password, "ann.example-shop")


@pytest.mark.parametrize(
    "password",
    ["correct horse battery staple", "gT5!kQ9#mZ2x", "зелёный чайник поёт", "x7" + "q" * 3 + "wet llama"],
)
def test_length_is_all_that_others_need(password: str) -> None:
    assert passwords.problem(password, "ann") == ""


def test_one_password_on_every_keyboard() -> None:
    assert passwords.normalised("cafe\u0301 \uff21") == passwords.normalised("caf\u00e9 A")
    assert passwords.account_name("ANN\uff20x") == "ann@x"


@given(st.text(min_size=12, max_size=128), st.text(max_size=64))
def test_any_text_is_judged(password: str, name: str) -> None:
    assert isinstance(passwords.problem(password, name), str)


def test_temporary_passwords_are_good_ones() -> None:
    for _ in range(20):
        made = passwords.temporary(lambda below: int.from_bytes(os.urandom(4), "big") % below)
        assert len(made) == 23
        assert passwords.problem(made, "ann") == ""


def test_challenges_are_of_one_name_and_one_time() -> None:
    key = os.urandom(32)
    made = challenges.make_challenge(key, "ann", 6, 1000, os.urandom(16))
    opened = challenges.open_challenge(key, "ann", made, 1299)
    assert opened is not None
    assert opened.bits == 6
    counter = challenges.solve(made, 6)
    assert challenges.is_solved(made, counter, 6)
    for wrong in (
        challenges.open_challenge(key, "bob", made, 1000),
        challenges.open_challenge(key, "ann", made, 1300),
        challenges.open_challenge(os.urandom(32), "ann", made, 1000),
    ):
        assert wrong is None


@given(st.text(max_size=300))
def test_whatever_is_shown_as_challenge_or_device_is_none(text: str) -> None:
    assert challenges.open_challenge(bytes(32), "ann", text, 0) is None
    assert challenges.open_device(bytes(32), text, 0) is None


def test_device_tokens_end() -> None:
    device = challenges.Device("ab" * 16, "cd" * 16)
    token = challenges.make_device(bytes(32), device, 1000)
    assert challenges.open_device(bytes(32), token, 1000) == device
    assert challenges.open_device(bytes(32), token, 1000 + challenges.DEVICE_S) is None
    assert challenges.open_device(b"x" * 32, token, 1000) is None


def test_codes_are_those_of_the_rfc() -> None:
    secret = b"12345678901234567890"  # RFC 6238 appendix B, the last six digits
    for time_s, code in ((59, "287082"), (1111111109, "081804"), (20000000000, "353130")):
        assert one_time_codes.step_of(secret, code, 0, time_s) == time_s // 30
        assert one_time_codes.step_of(secret, code, 0, time_s + 30) == time_s // 30
        assert one_time_codes.step_of(secret, code, 0, time_s + 90) is None
        assert one_time_codes.step_of(secret, code, time_s // 30, time_s) is None
    for wrong in ("", "28708", "2870822", "٢٨٧٠٨٢", " 287082"):
        assert one_time_codes.step_of(secret, wrong, 0, 59) is None
    text, uri = one_time_codes.shown(secret, "ann", "test")
    assert base64.b32decode(text) == secret
    assert pyotp.parse_uri(uri).issuer == "test"


def test_secrets_are_encrypted_for_one_account() -> None:
    keys = SecretKeys(os.urandom(32))
    sealed = keys.one_time_codes.encrypted(b"secret", b"a", os.urandom(NONCE_BYTES))
    assert keys.one_time_codes.decrypted(sealed, b"a") == b"secret"
    assert keys.one_time_codes.decrypted(sealed, b"b") is None
    assert keys.webhooks.decrypted(sealed, b"a") is None, "each use has a key of its own"
    assert SecretKeys(os.urandom(32)).one_time_codes.decrypted(sealed, b"a") is None
    assert keys.one_time_codes.decrypted(b"", b"a") is None


def test_codes_that_are_in_the_store_go_on() -> None:
    # Made by the release before, under bytes(range(32)) and with the nonce bytes(12): no account must set its codes up anew.
    sealed = bytes.fromhex("000000000000000000000000e234cdb883ad664852e04694d0c23c54939eec9ab12c")
    assert SecretKeys(bytes(range(32))).one_time_codes.decrypted(sealed, b"a") == b"secret"


def test_what_is_counted_is_told_apart_by_its_parts() -> None:
    keys = SecretKeys(os.urandom(32))
    assert keys.counter("pair", "ab", "c") != keys.counter("pair", "a", "bc")


async def test_who_is_known_goes_first_and_the_line_has_an_end() -> None:
    turns, order = Turns(1, 2), []

    async def go(name: str, *, first: bool) -> None:
        async with turns.turn(first=first):
            order.append(name)
            await asyncio.sleep(0)

    async with turns.turn(first=False):
        waiting = [
            asyncio.create_task(go(name, first=first))
            for name, first in (("a", False), ("b", False), ("ann", True))
        ]
        await asyncio.sleep(0)
        assert turns.is_pressed()
        with pytest.raises(BusyError):
            await go("c", first=False)
        waiting[0].cancel()
        await asyncio.sleep(0)
        waiting.append(asyncio.create_task(go("d", first=False)))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting, return_exceptions=True)
    assert order == ["ann", "b", "d"]
    assert turns.waiting() == 0
    await go("last", first=False)


async def test_hashes_tell_their_parameters() -> None:
    metrics = LoginMetrics(CollectorRegistry())
    old = Hasher(memory_kib=8, passes=1, threads=1, queue=1, metrics=metrics)
    new = Hasher(memory_kib=16, passes=1, threads=1, queue=1, metrics=metrics)
    hashed = await old.hash("seven wet llamas", first=True)
    assert hashed.startswith("$argon2id$")
    assert await new.verify(hashed, "seven wet llamas", first=True)
    assert not await new.verify(hashed, "eight wet llamas", first=True)
    assert not await new.verify("", "nobody has this password", first=True)
    assert not await new.verify("nonsense", "x", first=True)
    assert (old.is_old(hashed), new.is_old(hashed)) == (False, True)
    old.close()
    new.close()


def test_what_is_hashed_by_default_is_what_owasp_says() -> None:
    settings = LoginSettings()  # type: ignore[call-arg]  # read from the environment
    assert (settings.hash_memory_kib, settings.hash_passes) == (19 * 1024, 2)


async def test_many_refusals_are_recorded_together() -> None:
    recorder, now = MemoryRecorder(), [100.0]
    attempts = Attempts(recorder, lambda: now[0], LoginMetrics(CollectorRegistry()), structlog.get_logger())
    for number in range(50):
        outcome = Outcome.WRONG_PASSWORD if number % 2 else Outcome.UNKNOWN_NAME
        await attempts.refused("SignIn", "ann", outcome, "192.0.2.0/24")
    assert len(recorder.browses) == EACH_S
    recorder.away = True
    await attempts.flush()
    recorder.away = False
    await attempts.flush()
    joined = recorder.browses[EACH_S:]
    assert [(each.user, each.refused, each.network, each.times) for each in joined] == [
        (SEVERAL, "unknown-name", "192.0.2.0/24", 20),
        (SEVERAL, "wrong-password", "192.0.2.0/24", 20),
    ]
    now[0] += 1
    await attempts.refused("SignIn", "ann", Outcome.LOCKED, "192.0.2.0/24")
    assert recorder.browses[-1].times == 1


@pytest.mark.parametrize("burners", [1, 3, 50])
async def test_who_is_told_to_work_without_end_hides_no_guesses_at_an_account(burners: int) -> None:
    recorder, now = MemoryRecorder(), [0.0]
    attempts = Attempts(recorder, lambda: now[0], LoginMetrics(CollectorRegistry()), structlog.get_logger())
    for second in range(120):
        now[0] = float(second)
        for number in range(50):
            await attempts.refused("SignIn", UNKNOWN, Outcome.CHALLENGED, f"192.0.{number % burners}.0/24")
        await attempts.refused("SignIn", "alice", Outcome.WRONG_PASSWORD, "198.51.100.0/24")
        if second % 10 == 9:
            await attempts.flush()
    guesses = [each for each in recorder.browses if each.network == "198.51.100.0/24"]
    assert sum(each.times for each in guesses if each.user == "alice") == 120
    assert sum(each.times for each in recorder.browses) == 120 * 51
    assert len(recorder.browses) <= 120 * EACH_S + 12 * (2 * APART + 2)


def test_a_key_is_published_before_it_signs_and_after(tmp_path: Path) -> None:
    files, now = KeyFiles(tmp_path / "login", 300), 10**12
    assert files.make_first(now)
    assert not files.make_first(now)
    (first,) = files.states(now)
    second = files.rotate(now).kid
    assert files.states(now) == {first: State.SIGNING, second: State.NEXT}
    assert files.publish(now).count(b'"kid"') == 2
    now += PUBLISHED_MS
    assert files.states(now) == {first: State.ENDING, second: State.SIGNING}
    assert files.retire(now) == []
    now += 300_000 + 120_000
    assert files.states(now) == {first: State.ENDED, second: State.SIGNING}
    assert files.retire(now) == [first]
    for path in tmp_path.glob("login/*.key"):
        assert path.stat().st_mode & 0o777 == 0o600
    published = (tmp_path / "login" / JWKS).read_bytes()
    assert b'"d"' not in published
    assert published.count(b'"kid"') == 1


def test_a_key_that_leaked_is_gone_and_an_older_one_does_not_come_back(tmp_path: Path) -> None:
    files, now = KeyFiles(tmp_path / "login", 300), 10**12
    files.make_first(now)
    (first,) = files.states(now)
    second = files.rotate(now).kid
    now += PUBLISHED_MS
    third = files.revoke(second, now).kid
    assert third not in (first, second)
    assert files.states(now) == {first: State.ENDING, third: State.SIGNING}
    following = files.rotate(now).kid
    assert files.revoke(third, now).kid == following
    assert files.states(now)[following] is State.SIGNING
    with pytest.raises(KeysError):
        files.revoke("unknown", now)


def test_a_ring_keeps_what_it_has_where_the_folder_is_broken(tmp_path: Path) -> None:
    files, now = KeyFiles(tmp_path / "login", 300), 10**12
    metrics = LoginMetrics(CollectorRegistry())
    with pytest.raises(KeysError, match="provision"):
        KeyRing(files, lambda: now, metrics, structlog.get_logger())
    files.make_first(now)
    ring = KeyRing(files, lambda: now, metrics, structlog.get_logger())
    kid = ring.current().kid
    (tmp_path / "login" / "broken.key").write_text("{")
    ring.read_again()
    assert ring.current().kid == kid
    assert ring.current().d not in repr(ring.current())


def test_the_first_key_signs_at_once_also_where_it_is_made_by_rotating(tmp_path: Path) -> None:
    """So that an installation whose keys are made elsewhere can start."""
    files, now = KeyFiles(tmp_path / "login", 300), 10**12
    first = files.rotate(now).kid
    assert files.states(now) == {first: State.SIGNING}
    ring = KeyRing(files, lambda: now, LoginMetrics(CollectorRegistry()), structlog.get_logger())
    assert ring.current().kid == first
    second = files.rotate(now + 1).kid
    assert files.states(now + 1) == {first: State.SIGNING, second: State.NEXT}


def _read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(key_ring, "replace_whole", refused)


def test_a_key_set_on_a_read_only_mount_is_told_of_once_and_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, now, registry = KeyFiles(tmp_path / "login", 300), [10**12], CollectorRegistry()
    files.make_first(now[0])
    published = tmp_path / "login" / JWKS
    mounted = published.read_bytes()
    files.rotate(now[0])
    wanted = published.read_bytes()
    published.write_bytes(mounted)
    _read_only(monkeypatch)
    with structlog.testing.capture_logs() as told:
        ring = KeyRing(files, lambda: now[0], LoginMetrics(registry), structlog.get_logger())
        for _ in range(3):
            ring.read_again()
        assert [(each["log_level"], each["wanted"]) for each in told] == [("warning", wanted.decode())]
        now[0] += PUBLISHED_MS + 300_000 + 120_000  # the first key goes out of the set
        ring.read_again()
        assert len(told) == 2
        published.write_bytes(files.key_set(files.read(), now[0]))
        ring.read_again()
        assert len(told) == 2
    assert registry.get_sample_value("goodstrace_login_key_failures_total") == 0


def test_a_key_set_that_cannot_be_written_otherwise_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, now, registry = KeyFiles(tmp_path / "login", 300), 10**12, CollectorRegistry()
    files.make_first(now)
    ring = KeyRing(files, lambda: now, LoginMetrics(registry), structlog.get_logger())

    def full(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(key_ring, "replace_whole", full)
    (tmp_path / "login" / JWKS).write_bytes(b"{}")
    ring.read_again()
    assert registry.get_sample_value("goodstrace_login_key_failures_total") == 1


def test_no_key_is_taken_for_an_option_of_a_command() -> None:
    assert not any(new_key(1, 1).kid.startswith("-") for _ in range(300))


def test_the_commands_show_change_and_remove_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOODSTRACE_LOGIN_KEY_DIR", str(tmp_path))
    monkeypatch.setenv("GOODSTRACE_ACCOUNTS_JWKS", str(tmp_path / "public" / JWKS))
    files = KeyFiles(tmp_path, 300, tmp_path / "public" / JWKS)
    files.make_first(1)
    run = CliRunner().invoke
    (first,) = files.states(1)
    assert run(login_keys, ["list"]).output == f"{first}  signing\n"
    assert "signs in 10 minutes" in run(login_keys, ["rotate"]).output
    assert run(login_keys, ["retire"]).exit_code == 0
    assert run(login_keys, ["retire", first]).exit_code == 2
    assert run(login_keys, ["retire", "--now", "unknown"]).exit_code == 1
    done = run(login_keys, ["retire", "--now", first])
    assert done.exit_code == 0, done.output
    assert first not in (tmp_path / "public" / JWKS).read_text()
