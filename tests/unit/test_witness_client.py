"""Asking a witness over HTTP: what it answers is believed only where it verifies, and never read beyond its limit."""

import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from goodstrace.checkpoint import Checkpoint, sign_checkpoint
from goodstrace.cosignature import Cosigner
from goodstrace.note import MAX_NOTE_BYTES, Signature, Signer, parse_note
from goodstrace.policy import Policy, PolicyWitness
from goodstrace.witnessing import AddCheckpoint
from services.runtime.settings import EXIT_BAD_SETTINGS
from services.sealing.cosigning import Answer, Cosignatures, Fault, FaultKind, Holds
from services.sealing.witness_client import WitnessClient, witness_clients
from services.sealing.witness_settings import read_policy
from tests.fake_witness import UNIX_S, FakeWitness

LOG = Signer("test.local/00/goods/0", b"k" * 32)
NOTE = sign_checkpoint(Checkpoint(LOG.name, 5, b"r" * 32), LOG)
TEXT = parse_note(NOTE).text
FIRST, SECOND, STRANGER = (Cosigner(f"witness.example/{name}", bytes([name]) * 32) for name in (1, 2, 3))
KEYS = [PolicyWitness(name, key.verifier, "http://w") for name, key in (("a", FIRST), ("b", SECOND))]
REQUEST = AddCheckpoint(3, (b"h" * 32,), NOTE)


async def ask(respond: Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]) -> Answer:
    client = WitnessClient("http://w/base/", KEYS, 0.5, httpx.MockTransport(respond))  # type: ignore[arg-type]
    try:
        return await client.add_checkpoint(REQUEST)
    finally:
        await client.close()


async def answered(status: int, content: str | bytes = b"") -> Answer:
    return await ask(lambda _: httpx.Response(status, content=content))


async def test_it_posts_the_request_and_verifies_the_cosignatures() -> None:
    asked: list[httpx.Request] = []
    lines = [key.cosign(TEXT, UNIX_S) for key in (STRANGER, SECOND, FIRST)]

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, text="".join(line.line() for line in lines))

    assert await ask(respond) == Cosignatures({"b": lines[1], "a": lines[2]})
    [request] = asked
    assert (request.method, str(request.url)) == ("POST", "http://w/base/add-checkpoint")
    assert request.content == REQUEST.encode()


async def test_a_cosignature_of_an_unknown_key_is_none() -> None:
    answer = await answered(200, STRANGER.cosign(TEXT, UNIX_S).line())
    assert isinstance(answer, Fault)
    assert answer.kind is FaultKind.MALFORMED


@pytest.mark.parametrize("text", [TEXT.replace("\n5\n", "\n6\n"), TEXT.replace("goods", "other")])
async def test_a_cosignature_of_something_else_is_refused_with_all_that_came_with_it(text: str) -> None:
    answer = await answered(200, FIRST.cosign(TEXT, UNIX_S).line() + SECOND.cosign(text, UNIX_S).line())
    assert isinstance(answer, Fault)
    assert answer.kind is FaultKind.MALFORMED
    assert "witness.example/2" in answer.detail


async def test_a_cosignature_without_its_time_is_refused() -> None:
    signed = FIRST._key.sign(f"cosignature/v1\ntime 0\n{TEXT}".encode())
    line = Signature(FIRST.verifier.name, FIRST.verifier.key_id, bytes(8) + signed).line()
    assert await answered(200, line) == Fault(
        FaultKind.MALFORMED, "the cosignature of 'witness.example/1' has no time"
    )


@pytest.mark.parametrize(
    "body", ["", "\n", "nonsense", "— x\n", "\ntext\n\n— x eA==\n", b"\xff\xfe", "x" * 100]
)
async def test_an_answer_that_is_none_is_a_fault(body: str | bytes) -> None:
    answer = await answered(200, body)
    assert isinstance(answer, Fault)
    assert answer.kind is FaultKind.MALFORMED


async def test_the_size_of_a_conflict_is_read() -> None:
    assert await answered(409, "17\n") == Holds(17)


@pytest.mark.parametrize(
    "body", ["", "17", "017\n", "-1\n", "1e3\n", "99999999999999999999\n", "17\n\n", "x\n"]
)
async def test_a_conflict_without_a_size_is_a_fault(body: str) -> None:
    answer = await answered(409, body)
    assert isinstance(answer, Fault)
    assert answer.kind is FaultKind.MALFORMED


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, FaultKind.REFUSED),
        (403, FaultKind.UNKNOWN_LOG),
        (404, FaultKind.UNKNOWN_LOG),
        (422, FaultKind.FORK),
        (429, FaultKind.REFUSED),
        (302, FaultKind.REFUSED),
        (500, FaultKind.UNAVAILABLE),
        (503, FaultKind.UNAVAILABLE),
    ],
)
async def test_refusals_are_told_apart(status: int, kind: FaultKind) -> None:
    assert await answered(status, "the reason\n") == Fault(kind, f"{status}: the reason")


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 4096
            yield b"x" * 4096

    answer = await ask(lambda _: httpx.Response(200, content=endless()))
    assert isinstance(answer, Fault)
    assert read <= MAX_NOTE_BYTES + 2 * 4096


async def test_an_answer_that_unpacks_to_gigabytes_is_not_unpacked() -> None:
    """One chunk of a few kilobytes, packed twice: unpacked it would fill the memory before its size could be looked at."""
    bomb = gzip.compress(gzip.compress(bytes(1 << 24)))
    asked: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, headers={"Content-Encoding": "gzip, gzip"}, stream=httpx.ByteStream(bomb))

    tracemalloc.start()
    answer = await ask(respond)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer == Fault(FaultKind.UNAVAILABLE, "the answer is packed: gzip, gzip")
    assert most < 1 << 22
    assert asked[0].headers["accept-encoding"] == "identity"


async def test_cookies_of_a_witness_are_not_kept() -> None:
    """It could set others with each answer, without end, and each would be sent again with each request."""
    asked: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(503, headers=[("Set-Cookie", f"c{len(asked)}={'x' * 1000}; Path=/")])

    client = WitnessClient("http://w/base/", KEYS, 0.5, httpx.MockTransport(respond))
    for _ in range(3):
        await client.add_checkpoint(REQUEST)
    await client.close()
    assert all("cookie" not in request.headers for request in asked)


async def test_a_witness_that_does_not_answer_is_given_up() -> None:
    async def silent(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    assert await ask(silent) == Fault(FaultKind.UNAVAILABLE, "no answer within 0.5 s")


async def test_a_witness_that_cannot_be_reached_is_a_fault() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    assert await ask(refuse) == Fault(FaultKind.UNAVAILABLE, "refused")


def test_a_witness_with_several_keys_is_asked_once() -> None:
    one, two, three = (FakeWitness(name) for name in ("one", "two", "three"))
    policy = Policy.parse(
        one.line("https://w.example/x/") + two.line("https://w.example/x") + three.line() + "quorum none\n"
    )
    [client] = witness_clients(policy, 1)
    assert (client.names, client.label) == (frozenset({"one", "two"}), "one+two")


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        ("# nothing\n", "there is no quorum line"),
        ("quorum none\nquorum none\n", "line 2: there is a quorum line already"),
        (FakeWitness("w").line() + "quorum w\n", "the witnesses that have a URL do not make the quorum"),
        (FakeWitness("w").line("ftp://w") + "quorum none\n", "the URL of the witness w is none: ftp://w"),
        (FakeWitness("w").line("http:///x") + "quorum none\n", "the URL of the witness w is none"),
        (FakeWitness("w").line("http://[x") + "quorum none\n", ""),
        (FakeWitness("w").line("http://w:99999/") + "quorum none\n", "the URL of the witness w is none"),
        (FakeWitness("w").line("http://w:x/") + "quorum none\n", "the URL of the witness w is none"),
        (
            "".join(FakeWitness(f"w{n}").line(f"http://w{n}") for n in range(65)) + "quorum none\n",
            "over 64 witnesses have a URL",
        ),
    ],
)
def test_a_policy_that_cannot_be_published_by_is_refused_at_the_start(
    policy: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy").write_text(policy)
    with pytest.raises(SystemExit) as ended:
        read_policy(str(tmp_path / "policy"), 1)
    assert ended.value.code == EXIT_BAD_SETTINGS
    told = capsys.readouterr().err
    assert told.startswith("GOODSTRACE_WITNESS_POLICY: ")
    assert problem in told


def test_a_policy_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_policy(str(tmp_path / "policy"), 1)
    assert "GOODSTRACE_WITNESS_POLICY" in capsys.readouterr().err
