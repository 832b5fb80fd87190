"""The logs' keys on a running system: changed without a restart, cut off anywhere, encrypted, kept elsewhere, never told."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner, Result

from goodstrace import key_changes, root
from goodstrace import proof_file as proofs
from goodstrace.client import Client
from goodstrace.errors import NoteError
from goodstrace.log_keys import LogKeys
from goodstrace.memory import FileMemory, keys_name
from goodstrace.simulate import Simulation, SimulationOptions
from services.ledger.commands.fsck import fsck
from services.ledger.commands.keys import keys
from services.sealing import key_text
from tests.deadlines import DEADLINE_S
from tests.system.harness import System, eventually

LOGS = ("goods/0", "goods/1")
PASSPHRASE = "a passphrase that nobody guesses"
HOOK = """
import base64, pathlib, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
def text(data): print(base64.b64encode(data).decode())
folder, verb, log, *rest = sys.argv[1:]
seeds = (pathlib.Path(folder) / log.replace("/", "-")).read_text().split()
keys = [Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)) for seed in seeds]
if verb == "public":
    for key in keys: text(key.public_key().public_bytes_raw())
else:
    [key] = [key for key in keys if key.public_key().public_bytes_raw() == base64.b64decode(rest[0])]
    text(key.sign(sys.stdin.buffer.read()))
"""


class Bench:
    """A system, documents for it, and every secret that its keys ever were."""

    def __init__(self, system: System, folder: Path) -> None:
        self.system = system
        self.folder = folder
        simulation = Simulation(SimulationOptions(seed=5, events=600, events_per_document=10))
        self.documents = iter([document.to_bytes() for document in simulation.documents()])
        self.secrets = {PASSPHRASE}
        self.said = ""

    def run(self, command: click.Command, *arguments: str, status: int = 0) -> Result:
        environment = {**self.system.environment, **self.system.cli_environment}
        done = CliRunner().invoke(command, arguments, env=environment)
        self.said += done.output
        assert done.exit_code == status, (done.output, done.exception)
        return done

    def keys(self, *arguments: str) -> list[dict[str, Any]]:
        return list(json.loads(self.run(keys, *arguments, "--json").output)["keys"])

    def seal(self) -> None:
        """Seal some more events; both logs get some."""
        self.system.capture_sealed([next(self.documents) for _ in range(3)])
        self.look_for_secrets()

    def seal_all(self) -> None:
        """Seal some more events after a restart, when others may wait to be sealed too."""
        before = {log: size for log, size in self._sizes().items() if log in LOGS}
        self.system.capture([next(self.documents) for _ in range(3)])
        eventually(lambda: all(self._sizes()[log] > before[log] for log in LOGS), what="both logs grew")
        eventually(self.is_sealed, what="all is sealed")
        self.look_for_secrets()

    def _sizes(self) -> dict[str, int]:
        with self.system.client() as client:
            return {log: each.checkpoint.size for log, each in client.checkpoints().items()}

    def is_sealed(self) -> bool:
        return sum(self._sizes()[log] for log in LOGS) == len(self.system.topic_records("goods.stored"))

    def look_for_secrets(self) -> None:
        for path in self.system.key_dir.glob("*.key"):
            text = path.read_text().strip()
            self.secrets.add(text if len(text) == 64 else text.splitlines()[1])

    def in_force(self, log: str) -> dict[str, Any]:
        return next(row for row in self.keys("list") if (row["log"], row["state"]) == (log, "in force"))

    def rotate(self, *logs: str) -> list[dict[str, Any]]:
        """Change keys, seal until the new ones sign, and give them."""
        made = self.keys("rotate", *logs)
        self.seal()
        for row in made:
            assert self.in_force(row["log"])["vkey"] == row["vkey"]
        return made

    def rotate_root(self) -> None:
        """Change the root log's key, which it does with its next block."""
        [made] = self.keys("rotate", "root")
        self.seal()
        eventually(lambda: self.in_force("root")["vkey"] == made["vkey"], what="the root log has its new key")

    def assert_sound(self) -> None:
        """Nothing is wrong with what is stored, also for who trusts the keys of the folder only."""
        eventually(self.is_pinned, what="a round was made: whatever a killed one had not marked is marked")
        done = CliRunner().invoke(
            fsck,
            ["--json", "--vkeys", str(self.system.key_dir)],
            env={**self.system.environment, **self.system.cli_environment},
        )
        logs = json.loads(done.output)["logs"]
        assert {log["log"] for log in logs} == {*LOGS, "index", "root", "browse/0"}
        assert not [fault for log in logs for fault in log["faults"]]

    def is_pinned(self) -> bool:
        """Whether the root log has the newest checkpoint of every log but itself."""
        heads = {f"{each['_id']}@{each['size']}" for each in self.system.store["heads"].find()}
        pins = {each["_id"] for each in self.system.store["pins"].find()}
        return {each for each in heads - pins if not each.startswith("root@")} == set()

    def key_path(self, log: str, suffix: str = ".key") -> Path:
        return self.system.key_dir / f"{log.replace('/', '-')}{suffix}"


@pytest.fixture(scope="module")
def bench(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(system, tmp_path_factory.mktemp("keys"))
    bench.seal()
    yield bench
    bench.look_for_secrets()
    told = bench.said + "".join(path.read_text() for path in system.run_dir.rglob("*.log"))
    assert len(bench.secrets) > 8
    assert not [secret for secret in bench.secrets if secret in told], "a secret was told"


@pytest.fixture(scope="module")
def pinned(bench: Bench) -> Path:
    """What a partner got before any key changed: the public keys."""
    folder = bench.folder / "pinned"
    folder.mkdir()
    for path in bench.system.key_dir.glob("*.vkey"):
        shutil.copy(path, folder)
    return folder


def test_a_key_changes_while_all_goes_on_and_what_the_old_one_signed_stays_good(
    bench: Bench, pinned: Path
) -> None:
    memory = FileMemory(bench.folder / "memory.json")
    with bench.system.client(memory=memory) as client:
        saved = {log: each.note for log, each in client.checkpoints().items()}
        proof, _ = client.proof_file("goods/0", 0)
    old = {log: bench.in_force(log) for log in LOGS}
    pids = bench.system.pids()
    changed = bench.rotate(*LOGS)
    assert bench.system.pids() == pids, "nothing was restarted"
    rows = bench.keys("list")
    for row in changed:
        log = row["log"]
        of_log = [
            (each["state"], each["vkey"], each["private_key_here"]) for each in rows if each["log"] == log
        ]
        assert of_log == [("retired", old[log]["vkey"], False), ("in force", row["vkey"], True)]
        assert bench.key_path(log, ".1.vkey").read_text().strip() == old[log]["vkey"]
        assert bench.key_path(log, ".vkey").read_text().strip() == row["vkey"]
        assert not bench.key_path(log, ".next.key").exists()
        assert bench.keys("show", log) == [{"log": log, "vkey": row["vkey"]}]
        assert [each["vkey"] for each in bench.keys("show", log, "--all")] == [old[log]["vkey"], row["vkey"]]
    trusted = LogKeys.load(bench.system.key_dir)
    for log, note in saved.items():
        assert trusted.open(log, note) == LogKeys.load(pinned).open(log, note)
    assert proofs.verify(proof, trusted).log == "goods/0"
    assert proofs.verify(proof, LogKeys.load(pinned)).log == "goods/0"
    bench.assert_sound()
    _follows(bench, pinned, memory)


def _follows(bench: Bench, pinned: Path, memory: FileMemory) -> None:
    """A client that trusts the old keys goes on, and knows the new ones from then on."""
    target = bench.system.query_target
    with Client(target, LogKeys.load(pinned), memory=memory) as client:
        newest = client.checkpoints()
    for log in LOGS:
        origin = newest[log].checkpoint.origin
        remembered = (memory.get(keys_name(origin)) or "").splitlines()
        assert [key_changes.parse(line).log for line in remembered] == [log]
        with pytest.raises(NoteError):
            LogKeys.load(pinned).open(log, newest[log].note)


def test_the_change_is_shown_to_everybody_and_sealed_into_the_root_log(bench: Bench) -> None:
    if len(bench.keys("show", "goods/0", "--all")) == 1:
        bench.rotate("goods/0")
    history = httpx.get(f"{bench.system.log_url}/logs/goods/0/keys", timeout=DEADLINE_S).json()
    assert [each["vkey"] for each in history] == [
        row["vkey"] for row in bench.keys("show", "goods/0", "--all")
    ]
    change = key_changes.parse(json.dumps(history[-1]["change"], sort_keys=True, separators=(",", ":")))
    assert (change.new, change.height) == (history[-1]["vkey"], history[-1]["from_height"])

    def sealed() -> list[bytes]:
        parts = [record.parts for record in bench.system.sealed("root")]
        found = [each[root.KEY_CHANGES_PART] for each in parts if root.KEY_CHANGES_PART in each]
        return [line for content in found for line in content.split(b"\n")]

    eventually(lambda: key_changes.statement(change) in sealed(), what="the change is in the root log")


def test_the_root_logs_own_change_is_sealed_in_itself_once(bench: Bench) -> None:
    def own() -> list[list[bytes]]:
        parts = [
            record.parts for record in bench.system.sealed("root") if root.KEY_CHANGES_PART in record.parts
        ]
        of_root = [each for each in parts if root.decode(each[root.CHECKPOINT_PART]).log == "root"]
        return [each[root.KEY_CHANGES_PART].split(b"\n") for each in of_root]

    bench.rotate_root()
    info = bench.system.store["logs"].find_one({"_id": "root"})
    assert info is not None
    eventually(own, what="the change is in the root log")
    bench.system.kill9("ledger")
    bench.system.restart("ledger")
    bench.seal_all()
    bench.assert_sound()
    assert own() == [[each.encode() for each in info["changes"]]], "once, whatever was started again"


def test_a_key_that_was_announced_signs_once_it_is_rotated_to(bench: Bench) -> None:
    [announced] = bench.keys("prepare", "goods/1")
    assert bench.keys("prepare", "goods/1") == [{**announced, "made": False}]
    bench.seal()
    assert bench.in_force("goods/1")["vkey"] != announced["vkey"], "announcing changes nothing"
    states = {row["vkey"]: row["state"] for row in bench.keys("list")}
    assert states[announced["vkey"]] == "prepared"
    [made] = bench.rotate("goods/1")
    assert made["vkey"] == announced["vkey"]
    bench.assert_sound()


def test_a_ledger_killed_in_the_middle_of_a_change_finishes_it_once(bench: Bench) -> None:
    before = len(bench.keys("show", "goods/0", "--all"))
    [made] = bench.keys("rotate", "goods/0")
    bench.look_for_secrets()
    assert bench.system.capture([next(bench.documents) for _ in range(3)])
    bench.system.kill9("ledger")  # somewhere between the statement, the block, the store's list and the files
    bench.system.restart("ledger")
    bench.seal_all()
    assert bench.in_force("goods/0")["vkey"] == made["vkey"]
    assert len(bench.keys("show", "goods/0", "--all")) == before + 1
    bench.assert_sound()


def test_a_change_cut_off_is_finished_and_encrypted_keys_open_with_their_passphrase_only(
    bench: Bench,
) -> None:
    """The state after a change's block and before the rest, made by hand: the ledger finishes it when it starts."""
    system, log, logs = bench.system, "goods/0", bench.system.store["logs"]
    system.daemons["ledger"].stop()
    texts = [bench.key_path(log).read_text()]
    [made] = bench.keys("rotate", log)
    texts.append(bench.key_path(log, ".next.key").read_text())
    system.capture([next(bench.documents) for _ in range(3)])
    system.restart("ledger")  # all that waits goes into one block
    eventually(lambda: bench.in_force(log)["vkey"] == made["vkey"], what="the key changed")
    eventually(bench.is_sealed, what="all is sealed")
    system.daemons["ledger"].stop()
    for suffix, text in zip((".key", ".next.key"), texts, strict=True):
        bench.key_path(log, suffix).write_text(text)
        bench.key_path(log, suffix).chmod(0o600)
    document = logs.find_one({"_id": log})
    assert document is not None
    *earlier, newest = document["changes"]
    change = key_changes.parse(newest)
    _forget_all_after(system, log, change.height)
    logs.update_one({"_id": log}, {"$set": {"vkey": change.old, "changes": earlier, "pending": newest}})
    assert bench.in_force(log)["vkey"] == change.old
    bench.look_for_secrets()
    _encrypt(bench)
    system.restart("ledger")
    assert bench.in_force(log)["vkey"] == made["vkey"]
    assert not bench.key_path(log, ".next.key").exists()
    bench.assert_sound()
    bench.seal_all()
    bench.rotate(log)
    assert bench.key_path(log).read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    bench.assert_sound()


def _encrypt(bench: Bench) -> None:
    """Encrypt all keys; without the right passphrase neither commands nor a ledger can use them."""
    passphrases = {"right": PASSPHRASE, "wrong": "another passphrase, as long"}
    for name, text in passphrases.items():
        (bench.folder / name).write_text(text + "\n")
    environment = bench.system.environment
    bench.run(keys, "encrypt", status=2)
    environment["GOODSTRACE_KEY_PASSPHRASE_FILE"] = str(bench.folder / "right")
    done = bench.keys("encrypt")
    assert {row["log"]: row["encrypted_now"] for row in done} == dict.fromkeys(
        (*LOGS, "index", "root", "browse/0"), True
    )
    assert not any(row["encrypted_now"] for row in bench.keys("encrypt"))
    bench.look_for_secrets()
    environment["GOODSTRACE_KEY_PASSPHRASE_FILE"] = str(bench.folder / "absent")
    bench.run(keys, "rotate", "goods/0", status=2)
    environment["GOODSTRACE_KEY_PASSPHRASE_FILE"] = str(bench.folder / "wrong")
    bench.run(keys, "rotate", "goods/0", status=1)
    ended = bench.system.run_module("services.ledger")
    bench.said += ended.stdout + ended.stderr
    assert ended.returncode == 1, ended.stderr
    assert "was encrypted with another passphrase" in ended.stderr
    assert "Traceback" not in ended.stderr
    environment["GOODSTRACE_KEY_PASSPHRASE_FILE"] = str(bench.folder / "right")


def _forget_all_after(system: System, log: str, height: int) -> None:
    """Leave of a log what a writer left that was killed as soon as the block of this height was there."""
    store = system.store
    block = store["blocks"].find_one({"log": log, "height": height})
    before = store["blocks"].find_one({"log": log, "height": height - 1})
    assert block is not None
    assert before is not None
    assert not store["blocks"].find_one({"log": log, "height": height + 1}), (
        "the change came with the last block"
    )
    published = store["checkpoints"].find_one({"_id": f"{log}@{before['size']}"})
    assert published is not None
    store["checkpoints"].delete_one({"_id": f"{log}@{block['size']}"})
    head = {name: published[name] for name in ("size", "root", "note")}
    shown = {**head, "signatures": published["signatures"]}
    store["heads"].update_one({"_id": log}, {"$set": {**head, "height": height - 1, "published": shown}})


def test_keys_kept_by_a_command(bench: Bench, tmp_path: Path) -> None:
    system, seeds, script = bench.system, tmp_path / "seeds", tmp_path / "hook.py"
    seeds.mkdir()
    for log in (*LOGS, "index", "root", "browse/0"):
        text = key_text.decode(bench.key_path(log).read_bytes(), PASSPHRASE.encode(), log).hex()
        bench.secrets.add(text)
        (seeds / log.replace("/", "-")).write_text(text)
    bench.secrets.add("ab" * 32)
    with (seeds / "goods-1").open("a") as file:
        file.write("\n" + "ab" * 32)  # the next key, made where the command keeps them
    before = bench.in_force("goods/1")
    system.daemons["ledger"].stop()
    script.write_text(HOOK)
    system.environment["GOODSTRACE_KEY_COMMAND"] = f"{sys.executable} {script} {seeds}"
    system.environment["GOODSTRACE_KEY_DIR"] = str(system.run_dir / "elsewhere")
    system.restart("ledger")
    bench.seal_all()
    after = bench.in_force("goods/1")
    assert before["vkey"] != after["vkey"]
    assert after["private_key_here"]
    assert not (system.run_dir / "elsewhere").exists()
    bench.run(keys, "rotate", "goods/1", status=1)
    bench.assert_sound()
