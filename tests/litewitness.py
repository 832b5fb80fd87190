"""litewitness, a C2SP witness of other people (filippo.io/torchwood), run as a process for tests.

It keeps its key in an ssh-agent, so one runs here in a thread (`SshAgent`). Its own tool for adding logs is no public
program: logs are added to its database, as that tool would.
"""

import base64
import hashlib
import os
import re
import shutil
import signal
import socketserver
import sqlite3
import struct
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.processes import HOST, Daemon, free_port, is_listening
from goodstrace.cosignature import CosignatureVerifier
from goodstrace.merkle import EMPTY_ROOT
from tests.deadlines import DEADLINE_S
from tests.go_programs import LITEWITNESS

LABELS = ("one", "two", "three")
"""What policies call the witnesses of `witnesses`."""


class Litewitness:
    """One witness with a key, a database and a port of its own, kept over restarts. A context manager: starts, stops.

    Args:
        name: the witness's name in its cosignatures, such as "witness.example/w1".
        folder: its database and log go here.
    """

    def __init__(self, name: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.database = folder / "litewitness.db"
        self.port = free_port()
        self._agent = SshAgent()
        self._daemon = Daemon(
            name="litewitness",
            command=[
                str(LITEWITNESS.build()),
                *("-name", name, "-db", str(self.database), "-listen", f"{HOST}:{self.port}"),
                *("-ssh-agent", str(self._agent.socket), "-key", self._agent.fingerprint),
            ],
            run_dir=folder,
            ports=(self.port,),
        )

    @property
    def url(self) -> str:
        """The base URL, below which `add-checkpoint` is."""
        return f"http://{HOST}:{self.port}"

    @property
    def verifier(self) -> CosignatureVerifier:
        """What its cosignatures are verified with; `.vkey()` is for policy files."""
        return CosignatureVerifier(self.name, self._agent.public_key)

    def policy_line(self, label: str) -> str:
        """The line of a tlog-policy file that names it."""
        return f"witness {label} {self.verifier.vkey()} {self.url}\n"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Self:
        """Start it, or start it again; return when it listens."""
        self._daemon.start()
        self._daemon.wait_ready(
            lambda: "" if is_listening(self.port) else "it does not listen yet", DEADLINE_S
        )
        return self

    def stop(self) -> None:
        """Stop it; it may be started again, and knows what it knew."""
        self._daemon.stop()

    def kill(self) -> None:
        """End it as a crash would."""
        self._daemon.kill()

    def pause(self) -> None:
        """Let it take connections and answer nothing, until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it answer again."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and its agent for good."""
        self.kill()
        self._agent.close()

    def add_log(self, vkey: str) -> None:
        """Make a log known, at size 0, or give a known one another key; the witness must have been started once."""
        origin = vkey.partition("+")[0]
        self._execute("INSERT OR IGNORE INTO log VALUES (?, 0, ?)", origin, _base64(EMPTY_ROOT))
        self._execute("INSERT INTO key VALUES (?, ?)", origin, vkey)

    def believe(self, origin: str, size: int, root: bytes) -> None:
        """Let it have cosigned another history of a known log: `size` entries with this root."""
        self._execute(
            "UPDATE log SET tree_size = ?, tree_hash = ? WHERE origin = ?", size, _base64(root), origin
        )

    def seen(self, origin: str) -> tuple[int, bytes]:
        """The size and the root of a log that it last cosigned. Raises KeyError where it does not know the log."""
        rows = self._execute("SELECT tree_size, tree_hash FROM log WHERE origin = ?", origin)
        if not rows:
            raise KeyError(origin)
        return int(rows[0][0]), base64.b64decode(rows[0][1])

    def cosign(self, old_size: int, note: str) -> str:
        """Ask for a cosignature, as c2sp.org/tlog-witness has it; gives its line of the note."""
        response = self.ask(old_size, note)
        assert response.status_code == 200, response.text
        return response.text

    def ask(self, old_size: int, note: str, proof: Sequence[bytes] = ()) -> httpx.Response:
        """Send an add-checkpoint request."""
        lines = "".join(_base64(each) + "\n" for each in proof)
        return httpx.post(f"{self.url}/add-checkpoint", content=f"old {old_size}\n{lines}\n{note}")

    def printed_vkey(self) -> str:
        """The vkey that it printed when it was started."""
        found = re.findall(r'vkey="?([^"\s]+)', self._daemon.log.read_text())
        return str(found[-1])

    def _execute(self, statement: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.database, timeout=DEADLINE_S)) as database, database:
            return database.execute(statement, values).fetchall()

    def _signal(self, number: signal.Signals) -> None:
        process = self._daemon.process
        assert process is not None, f"it does not run{self._daemon.tail()}"
        os.kill(process.pid, number)


class SshAgent:
    """An ssh-agent with one new Ed25519 key, answering in threads: identities and signatures, nothing else.

    Source: draft-ietf-sshm-ssh-agent, RFC 8709 (the key's and the signature's form).
    """

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public_key = self._key.public_key().public_bytes_raw()
        self.blob = _string(b"ssh-ed25519") + _string(self.public_key)
        # A socket's path must stay under 108 bytes, which pytest's folders do not promise.
        self._folder = Path(tempfile.mkdtemp(prefix="agent-"))
        self.socket = self._folder / "agent"
        self._server = _AgentServer(self)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def fingerprint(self) -> str:
        """The key's OpenSSH fingerprint."""
        return "SHA256:" + _base64(hashlib.sha256(self.blob).digest()).rstrip("=")

    def answer(self, request: bytes) -> bytes:
        """Answer one message, both without their lengths."""
        if request == bytes([_REQUEST_IDENTITIES]):
            return bytes([_IDENTITIES_ANSWER]) + struct.pack(">I", 1) + _string(self.blob) + _string(b"test")
        asked = bytes([_SIGN_REQUEST]) + _string(self.blob)
        if request.startswith(asked):
            rest = request[len(asked) :]
            signed = self._key.sign(rest[4 : 4 + int.from_bytes(rest[:4])])
            return bytes([_SIGN_RESPONSE]) + _string(_string(b"ssh-ed25519") + _string(signed))
        return bytes([_FAILURE])

    def close(self) -> None:
        """Stop answering and remove the socket."""
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self._folder)


_FAILURE = 5
_REQUEST_IDENTITIES = 11
_IDENTITIES_ANSWER = 12
_SIGN_REQUEST = 13
_SIGN_RESPONSE = 14


class _AgentServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, agent: SshAgent) -> None:
        super().__init__(str(agent.socket), _AgentHandler)
        self.agent = agent


class _AgentHandler(socketserver.StreamRequestHandler):
    server: _AgentServer

    def handle(self) -> None:
        while length := self.rfile.read(4):
            self.wfile.write(_string(self.server.agent.answer(self.rfile.read(int.from_bytes(length)))))


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def witnesses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Litewitness]]:
    """Three that run, by LABELS; a test that ends one starts it again."""
    made = [Litewitness(f"witness.example/{label}", tmp_path_factory.mktemp(label)) for label in LABELS]
    try:
        yield [witness.start() for witness in made]
    finally:
        for witness in made:
            witness.close()
