"""`goodstrace witness` as processes: real HTTP, requests at once, kill -9."""

import itertools
import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from deploy.processes import free_port
from goodstrace.checkpoint import open_checkpoint
from goodstrace.cosignature import CosignatureVerifier
from goodstrace.merkle import root_of
from goodstrace.note import Note, Signer, parse_note
from goodstrace.policy import Policy
from goodstrace.witnessing import parse_conflict, parse_cosignatures
from services.sealing.cosigning import Cosignatures, Fault, FaultKind, Holds
from services.sealing.witness_client import WitnessClient
from services.witness.command import witness as witness_command
from services.witness.store import origin_hash
from tests.deadlines import DEADLINE_S
from tests.integration.test_collector import until
from tests.witness_requests import FORKED, LOG, TRUE, asking, note_of

ROOT = Path(__file__).resolve().parents[2]
SHOWN = f"/{origin_hash(LOG.name)}/checkpoint"


@dataclass(frozen=True)
class Signed:
    """A checkpoint that the witness cosigned."""

    size: int
    root: bytes
    time_s: int


class WitnessProcess:
    """One process of a witness, on ports of its own; several may share a folder."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.port, self.metrics_port = free_port(), free_port()
        self._arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=DEADLINE_S)

    def start(self) -> None:
        ports = ("--port", str(self.port), "--metrics-port", str(self.metrics_port))
        self.process = subprocess.Popen(
            [*COMMAND, "--folder", str(self.folder), "--name", "witness.example/1", *ports, *self._arguments],
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )
        until(self._ready, "the witness is ready", 30)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)
        self.http.close()

    @property
    def verifier(self) -> CosignatureVerifier:
        return CosignatureVerifier.parse((self.folder / "witness.vkey").read_text().strip())

    def ask(
        self, old: int, new: int, leaves: Sequence[bytes] = TRUE, signer: Signer = LOG
    ) -> Signed | int | None:
        """What it signed, the size that it has (409), or None where it refused."""
        request = asking(old, new, leaves, signer)
        answer = self.http.post("/add-checkpoint", content=request.encode())
        if answer.status_code == 409:
            return parse_conflict(answer.content)
        if answer.status_code != 200:
            assert answer.status_code in (404, 422), answer.text
            return None
        (signature,) = parse_cosignatures(answer.content)
        time_s = self.verifier.verify(signature, parse_note(request.note).text)
        return Signed(new, root_of(leaves[:new]), time_s)

    def size(self) -> int:
        answer = self.http.get(SHOWN)
        return open_checkpoint(answer.text, [LOG.verifier]).size if answer.status_code == 200 else 0

    def metric(self, name: str) -> float:
        lines = httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics").text.splitlines()
        return next(
            float(line.split()[-1]) for line in lines if line.startswith(f"goodstrace_witness_{name} ")
        )

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the witness ended"
        with suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{self.metrics_port}/readyz").status_code == 200
        return False


COMMAND = (sys.executable, "-m", "services.witness")


@pytest.fixture
def witnesses(tmp_path: Path) -> Iterator[list[WitnessProcess]]:
    """Two processes of one witness."""
    both = [WitnessProcess(tmp_path / "w", "--log", LOG.verifier.vkey()) for _ in range(2)]
    try:
        for each in both:
            each.start()
        yield both
    finally:
        for each in both:
            each.close()


def assert_one_line(signed: Sequence[Signed]) -> None:
    """Whatever was cosigned is one log that grew: a witness never vouches for two."""
    assert any(all(each.root == root_of(leaves[: each.size]) for each in signed) for leaves in (TRUE, FORKED))
    by_size = sorted(signed, key=lambda each: (each.size, each.time_s))
    assert all(first.time_s <= then.time_s for first, then in itertools.pairwise(by_size))


def test_requests_at_once_to_two_processes_are_signed_in_one_line(witnesses: list[WitnessProcess]) -> None:
    def asker(number: int) -> list[Signed]:
        draw, signed, old = random.Random(number), [], 0
        leaves = (TRUE, FORKED)[number % 2]
        for _ in range(40):
            answer = draw.choice(witnesses).ask(old, draw.randint(min(old, 40), min(old + 6, 40)), leaves)
            if isinstance(answer, Signed):
                signed.append(answer)
                old = answer.size
            elif answer is not None:
                old = answer
        return signed

    with ThreadPoolExecutor(6) as pool:
        signed = [each for found in pool.map(asker, range(6)) for each in found]
    assert len(signed) > 10
    assert_one_line(signed)
    assert witnesses[0].size() == witnesses[1].size() == max(each.size for each in signed)


async def test_it_answers_the_ledgers_own_client(witnesses: list[WitnessProcess]) -> None:
    url = f"http://127.0.0.1:{witnesses[0].port}"
    policy = Policy.parse(f"witness w {witnesses[0].verifier.vkey()} {url}\nquorum w")
    client = WitnessClient(url, policy.witnesses, timeout_s=DEADLINE_S)
    request = asking(0, 8)
    answer = await client.add_checkpoint(request)
    assert isinstance(answer, Cosignatures)
    note = parse_note(request.note)
    cosigned = Note(note.text, (*note.signatures, *answer.by_name.values())).encode()
    assert policy.satisfied_by(cosigned)
    assert witnesses[0].http.get(SHOWN).text == cosigned
    assert await client.add_checkpoint(asking(0, 9)) == Holds(8)
    for refused, kind in [
        (asking(8, 9, FORKED), FaultKind.FORK),
        (asking(0, 9, TRUE, Signer("example.com/x/goods/0", bytes(32))), FaultKind.UNKNOWN_LOG),
    ]:
        fault = await client.add_checkpoint(refused)
        assert isinstance(fault, Fault)
        assert fault.kind is kind
    await client.close()


def test_killed_at_any_moment_it_remembers_what_it_signed(witnesses: list[WitnessProcess]) -> None:
    witness, other = witnesses
    other.end()
    signed: list[Signed] = []
    for round_ in range(4):
        signed += _ask_until_killed(witness, leaves=(TRUE, FORKED)[round_ % 2], after=5 * (round_ + 1))
        witness.start()
        assert witness.size() >= max((each.size for each in signed), default=0)
    assert signed
    assert_one_line(signed)
    assert witness.end() == 0


def _ask_until_killed(witness: WitnessProcess, leaves: Sequence[bytes], after: int) -> list[Signed]:
    signed: list[Signed] = []
    killer = threading.Timer(0, lambda: None)
    try:
        for asked in itertools.count():
            if asked == after:
                killer = threading.Timer(random.Random(after).random() / 100, witness.end, [signal.SIGKILL])
                killer.start()
            old = witness.size()
            answer = witness.ask(old, min(old + 1, 40), leaves)
            if isinstance(answer, Signed):
                signed.append(answer)
    except httpx.HTTPError:
        killer.join()
    return signed


def test_the_command_makes_a_key_shows_what_it_saw_and_where_evidence_is(tmp_path: Path) -> None:
    folder = tmp_path / "w"

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(witness_command, ["--folder", str(folder), *arguments])

    assert run("--status").exit_code == 1
    line = run("--init", "--name", "witness.example/1", "--port", "1234").output
    (witness,) = Policy.parse(f"{line}quorum {line.split()[1]}").witnesses
    assert witness.url == "http://127.0.0.1:1234"
    for arguments in [("--log", "no key"), ("--policy", "no-such-file"), ("--prefix", "w/")]:
        assert run(*arguments).exit_code == 2
    policy = tmp_path / "policy"
    policy.write_text(f"log {LOG.verifier.vkey()}\nquorum none\n")
    process = WitnessProcess(folder, "--policy", str(policy), "--prefix", "/w")
    try:
        process.start()
        process.http.base_url = httpx.URL(f"http://127.0.0.1:{process.port}/w/")
        assert isinstance(process.ask(0, 8), Signed)
        assert process.ask(8, 8, FORKED) is None
        assert process.verifier == witness.verifier
    finally:
        process.close()
    status = run("--status").output
    assert f"cosigned  {LOG.name}  8" in status
    (evidence,) = (line.split()[1] for line in status.splitlines() if line.startswith("EVIDENCE"))
    assert Path(evidence).read_text() == note_of(8, FORKED)
    document = json.loads(run("--status", "--json").output)
    assert document == {
        "vkey": witness.verifier.vkey(),
        "trusted": [],
        "cosigned": {LOG.name: 8},
        "evidence": [evidence],
    }
    assert json.loads(run("--init", "--json").output)["vkey"] == witness.verifier.vkey()


class ListOfLogs:
    """A server of `/logs` as the query service has it."""

    def __init__(self) -> None:
        self.vkeys: list[str] = []
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(
                    [
                        {"name": "goods/0", "origin": vkey.split("+")[0], "vkey": vkey, "url": ""}
                        for vkey in served.vkeys
                    ]
                )
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/logs"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_list_of_logs_is_trusted_on_first_use_only(tmp_path: Path) -> None:
    listed = ListOfLogs()
    later = Signer("example.com/7f3a/goods/1", bytes([4] * 32))
    impostor = Signer(LOG.name, bytes([5] * 32))
    witness = WitnessProcess(tmp_path / "w", "--logs-url", listed.url, "--lists-every", "0.1")
    try:
        listed.vkeys = [LOG.verifier.vkey()]
        witness.start()
        until(lambda: isinstance(witness.ask(0, 5), Signed), "the listed log is followed", 10)
        assert witness.ask(0, 5, TRUE, later) is None
        listed.vkeys = [impostor.verifier.vkey(), later.verifier.vkey()]
        until(lambda: isinstance(witness.ask(0, 5, TRUE, later), Signed), "the later log is followed", 10)
        assert isinstance(witness.ask(5, 6), Signed)
        until(lambda: witness.metric("key_mismatches_total") > 0, "the other key is reported", 10)
        assert witness.metric("logs") == 2
        assert witness.end(signal.SIGKILL) != 0
        listed.vkeys = [impostor.verifier.vkey()]
        witness.start()
        request = asking(6, 7, TRUE, impostor)
        assert witness.http.post("/add-checkpoint", content=request.encode()).status_code == 403
        assert isinstance(witness.ask(6, 7), Signed)
    finally:
        witness.close()
        listed.close()
