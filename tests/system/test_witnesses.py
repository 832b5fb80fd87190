"""All services with three real witnesses (litewitness): every log is cosigned, and clients may demand it."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.stack import Stack
from goodstrace.checkpoint import Checkpoint
from goodstrace.cli.prove import prove
from goodstrace.cli.trace import trace
from goodstrace.cli.verify import verify
from goodstrace.client import Client
from goodstrace.cosignature import Cosigner
from goodstrace.errors import QuorumError
from goodstrace.log_keys import LogKeys
from goodstrace.policy import Policy
from goodstrace.simulate import Simulation, SimulationOptions
from tests.deadlines import DEADLINE_S
from tests.go_programs import READER
from tests.litewitness import LABELS, Litewitness, witnesses
from tests.system.harness import System, eventually
from tests.system.simulated import seal_simulation

__all__ = ["witnesses"]  # the fixture

LOGS = {"browse/0", "goods/0", "goods/1", "index", "root"}


@pytest.fixture(scope="module")
def policy_file(witnesses: list[Litewitness], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "policy"
    lines = [witness.policy_line(label) for witness, label in zip(witnesses, LABELS, strict=True)]
    path.write_text("".join(lines) + "group most 2 one two three\nquorum most\n")
    return path


@pytest.fixture(scope="module")
def policy(policy_file: Path) -> Policy:
    return Policy.parse(policy_file.read_bytes())


@pytest.fixture(scope="module")
def system(
    stack: Stack, systems: Callable[..., System], policy_file: Path, witnesses: list[Litewitness]
) -> System:
    """A system whose logs the witnesses know."""
    running = systems(
        stack, GOODSTRACE_WITNESS_POLICY=str(policy_file), GOODSTRACE_WITNESS_INTERVAL_MS="50"
    ).start()
    for info in running.store["logs"].find():
        for witness in witnesses:
            witness.add_log(info["vkey"])
    return running


@pytest.fixture(scope="module")
def item(system: System) -> str:
    """An item whose events are sealed."""
    return seal_simulation(system, seed=5, events=60, events_per_document=30)


def client(system: System, policy: Policy) -> Client:
    return Client(
        system.query_target,
        LogKeys.load(system.key_dir),
        audit_target=system.audit_target,
        policy=policy,
    )


def heads(system: System) -> dict[str, tuple[int, int, str]]:
    """By log: the size that is signed, the size that is published, and the published note."""
    found = {}
    for head in system.store["heads"].find():
        published = head.get("published") or {"size": 0, "note": ""}
        found[head["_id"]] = (head["size"], published["size"], published["note"])
    return found


def settled(system: System, policy: Policy, by: set[str]) -> Callable[[], bool]:
    """Whether the newest checkpoint of each log is published with the cosignatures of exactly these."""
    return lambda: (
        set(heads(system)) == LOGS
        and all(
            signed == published and policy.cosigners(note) == by
            for signed, published, note in heads(system).values()
        )
    )


def test_every_log_is_cosigned_the_browse_and_root_logs_too(
    system: System, witnesses: list[Litewitness], policy: Policy, item: str
) -> None:
    with client(system, policy) as asking:
        found = asking.trace(item)
        assert found.tree_verified
        assert all(policy.satisfied_by(each.note) for each in found.checkpoints.values())
        eventually(settled(system, policy, set(LABELS)), what="all logs cosigned by all")

        def agreed() -> bool:
            """Whether every witness has just what is published of every log; what is sealed meanwhile they have before it is."""
            checkpoints = asking.checkpoints()
            assert set(checkpoints) == LOGS
            notes = {log: each.note for log, each in checkpoints.items()}
            said = [Checkpoint.parse(note.partition("\n\n")[0] + "\n") for note in notes.values()]
            return all(policy.cosigners(note) == set(LABELS) for note in notes.values()) and all(
                witness.seen(each.origin) == (each.size, each.root) for each in said for witness in witnesses
            )

        eventually(agreed, what="every witness has just what is published")


def test_the_command_line_demands_a_policy(system: System, policy_file: Path, item: str) -> None:
    known = {**system.environment, **system.cli_environment, "GOODSTRACE_POLICY": str(policy_file)}
    done = CliRunner().invoke(trace, [item], env=known)
    assert done.exit_code == 0, done.output
    other = Cosigner("witness.example/other", b"o" * 32).verifier.vkey()
    stricter = policy_file.with_name("stricter")
    stricter.write_text(
        policy_file.read_text().replace("quorum most", f"witness other {other}\nquorum other")
    )
    refused = system.cli_with({}, "trace", item, "--policy", str(stricter))
    assert refused.returncode == 1
    assert "by the policy's quorum 'other'" in refused.stderr
    assert "Traceback" not in refused.stderr
    with client(system, Policy.parse(stricter.read_bytes())) as asking, pytest.raises(QuorumError):
        asking.checkpoints()


def test_a_proof_file_has_the_cosignatures_and_other_tools_take_them(
    system: System, policy_file: Path, item: str, tmp_path: Path
) -> None:
    proof = tmp_path / "item.tlog-proof"
    known = {**system.environment, **system.cli_environment, "GOODSTRACE_POLICY": str(policy_file)}
    done = CliRunner().invoke(prove, ["goods/0", "2", "--out", str(proof)], env=known)
    assert done.exit_code == 0, done.output
    shown = CliRunner().invoke(verify, [str(proof), "--json"], env=known)
    assert shown.exit_code == 0, shown.output
    assert len(json.loads(shown.output)["files"][0]["cosigned"]) >= 2

    logs = "".join(f"log {each['vkey']}\n" for each in system.store["logs"].find())
    named = tmp_path / "policy"
    named.write_text(logs + policy_file.read_text())
    command = [str(READER.build()), "proof", "-policy", str(named), str(proof)]
    read = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert read.returncode == 0, read.stdout
    proof.write_text(proof.read_text().replace("index 2", "index 3"))
    read = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert read.returncode == 1, read.stdout


def test_what_is_not_cosigned_is_shown_to_nobody(
    system: System, witnesses: list[Litewitness], policy: Policy, item: str
) -> None:
    eventually(settled(system, policy, set(LABELS)))
    for witness in witnesses[:2]:
        witness.kill()
    before = {
        log: each[1] for log, each in heads(system).items()
    }  # what became of a look may be sealed until now
    simulation = Simulation(SimulationOptions(seed=6, events=20, events_per_document=20))
    accepted = sum(
        job.counts["accepted"]
        for job in system.capture([document.to_bytes() for document in simulation.documents()])
    )

    def signed() -> int:
        return sum(each[0] - before[log] for log, each in heads(system).items() if log.startswith("goods/"))

    eventually(lambda: signed() == accepted, what="sealed all the same")
    with client(system, policy) as asking:
        shown = asking.checkpoints()
        assert {log: each.checkpoint.size for log, each in shown.items()} == before
        assert all(
            each.event.position.index < before[each.event.position.log] for each in asking.trace(item).events
        )
    for service, prefix in (("ledger", "goods/"), ("audit", "browse/")):
        page = urllib.request.urlopen(system.url(service, "/metrics"), timeout=DEADLINE_S).read().decode()
        assert f'goodstrace_{service}_witness_faults_total{{kind="unavailable",witness="one"}}' in page
        assert (
            f'goodstrace_{service}_published_entries{{log="{prefix}0"}} {float(before[prefix + "0"])}' in page
        )
        assert urllib.request.urlopen(system.url(service, "/readyz"), timeout=DEADLINE_S).read() == b"ready\n"
    for witness in witnesses[:2]:
        witness.start()
    eventually(settled(system, policy, set(LABELS)), what="they caught up")
    assert "cosign" in system.tails()


def test_who_has_a_later_key_is_answered_while_its_first_checkpoint_waits_for_witnesses(
    system: System, witnesses: list[Litewitness], policy: Policy, item: str
) -> None:
    eventually(settled(system, policy, set(LABELS)))
    for witness in witnesses[:2]:
        witness.kill()
    before = heads(system)
    rotated = ("goods/0", "goods/1")
    options = [SimulationOptions(seed=seed, events=20, events_per_document=20) for seed in (8, 9)]
    first, then = ([document.to_bytes() for document in Simulation(each).documents()] for each in options)

    def grown(than: dict[str, tuple[int, int, str]]) -> bool:
        return all(heads(system)[log][0] > than[log][0] for log in rotated)

    system.capture(first)
    eventually(lambda: grown(before), what="the key of before has signed more than is published")
    unpublished = heads(system)
    assert system.cli("keys", "rotate", *rotated).returncode == 0
    system.capture(then)
    eventually(lambda: grown(unpublished), what="the new keys have signed")
    infos = {info["_id"]: info for info in system.store["logs"].find()}
    assert all(len(infos[log]["changes"]) == 1 for log in rotated)
    later = LogKeys.parse([info["vkey"] for info in infos.values()])
    with Client(system.query_target, later, audit_target=system.audit_target, policy=policy) as asking:
        assert asking.trace(item).tree_verified
        shown = {log: asking.checkpoints()[log].checkpoint.size for log in rotated}
    assert shown == {log: before[log][1] for log in rotated}
    for witness in witnesses:
        for log in rotated:
            witness.add_log(infos[log]["vkey"])
    for witness in witnesses[:2]:
        witness.start()
    eventually(
        settled(system, policy, set(LABELS)), what="the first checkpoints of the new keys are published"
    )


def test_a_ledger_whose_store_lost_its_tail_stops_and_says_so(
    system: System, witnesses: list[Litewitness], policy: Policy
) -> None:
    """A witness has cosigned what is not stored: to the ledger that is a store that was rolled back."""
    eventually(settled(system, policy, set(LABELS)))
    [root] = system.store["logs"].find({"_id": "root"})
    origin = root["origin"]
    honest = witnesses[0].seen(origin)
    witnesses[0].believe(origin, honest[0] + 1000, b"r" * 32)
    system.kill9("ledger")
    system.daemons["ledger"].start()
    eventually(lambda: "ledger" not in system.pids(), what="the ledger has stopped")
    [last] = system.daemons["ledger"].log.read_text().splitlines()[-1:]
    said = json.loads(last)
    assert (said["event"], said["category"]) == ("stopped by a fault", "rolled-back")
    assert (
        f"root: the witness one has cosigned size {honest[0] + 1000} and the store ends at" in said["error"]
    )
    witnesses[0].believe(origin, *honest)
    system.restart("ledger")
    eventually(settled(system, policy, set(LABELS)), what="it goes on where the witness agrees")


def test_a_wrong_policy_is_told_with_its_line_and_status_2(system: System, tmp_path: Path) -> None:
    wrong = tmp_path / "policy"
    wrong.write_text("# a comment\nquorum nobody\n")
    ended = system.run(
        [sys.executable, "-m", "services.ledger"],
        {"GOODSTRACE_WITNESS_POLICY": str(wrong), "GOODSTRACE_LEDGER_METRICS_PORT": "0"},
    )
    assert ended.returncode == 2
    assert f"GOODSTRACE_WITNESS_POLICY: {wrong}: line 2" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_logs_of_stages_run_again_wait_for_the_quorum_too(
    system: System, witnesses: list[Litewitness], policy: Policy, item: str
) -> None:
    """Last in this module: the witnesses do not know these logs before, and the heads are more after."""
    again = ("replay", "stage", "--from", "recorded", "--json", "--wait")
    waiting = system.cli(*again, "0")
    assert waiting.returncode == 1, waiting.stderr
    told = json.loads(waiting.stdout)
    assert told["unpublished"] == sorted(log for log, size in told["logs"].items() if size)
    for info in system.store["logs"].find({"_id": {"$regex": "^goods.v2/"}}):
        for witness in witnesses:
            witness.add_log(info["vkey"])
    done = system.cli(*again, "30")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {log: head for log, head in heads(system).items() if log.startswith("goods.v2/")}
    assert found
    for signed, published, note in found.values():
        assert signed == published > 0
        assert len(policy.cosigners(note)) >= 2
