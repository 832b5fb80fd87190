"""The root log and the proofs that go up to it, on a running system: every log is pinned, whoever is killed; files verify alone."""

import json
from collections import defaultdict
from pathlib import Path

import click
import httpx
import pytest
from click.testing import CliRunner, Result

from goodstrace import block as blocks
from goodstrace import root
from goodstrace.cli.prove import PARTS_SUFFIX, prove
from goodstrace.cli.trace import trace
from goodstrace.cli.verify import verify
from goodstrace.errors import GoodstraceError
from goodstrace.log_keys import LogKeys
from goodstrace.root_proof import RootProof
from goodstrace.simulate import Simulation, SimulationOptions
from tests.system.harness import System, eventually
from tests.system.simulated import seal_simulation

EVENTS = 120


@pytest.fixture(scope="module")
def item(system: System) -> str:
    """An item whose events are sealed and have been looked at."""
    found = seal_simulation(system, seed=11, events=EVENTS, events_per_document=40)
    with system.client() as client:
        client.trace(found, complete=False)
    system.wait_looks_sealed(1)
    return found


def run(system: System, command: click.Command, *arguments: str, status: int = 0) -> Result:
    """Run a command in this process: starting Python takes longer than all the rest."""
    done = CliRunner().invoke(command, arguments, env={**system.environment, **system.cli_environment})
    assert done.exit_code == status, (done.output, done.exception)
    return done


def covered(system: System, log: str, size: int) -> RootProof:
    """The proof that the root log covers a log at a size, once it does; with a client that has seen the log before."""
    with system.client() as client:
        checkpoint = client.checkpoints()[log]
        assert checkpoint.checkpoint.size >= size
        proof = eventually(lambda: client.root_proof(checkpoint), what=f"{log} at {size} is pinned")
    assert proof is not None
    assert proof.pinned.checkpoint.size >= size
    assert proof.header.size == proof.pinned.checkpoint.size
    return proof


def pinned_sizes(system: System) -> dict[str, list[int]]:
    """The sizes at which the root log pins each log, in its order; every note and block hash is checked."""
    keys = LogKeys.load(system.key_dir)
    headers = {(each["log"], each["height"]): each["header"] for each in system.store["blocks"].find()}
    sizes: dict[str, list[int]] = defaultdict(list)
    for record in system.sealed("root"):
        pinned = root.decode(record.parts[root.CHECKPOINT_PART])
        checkpoint = keys.open(pinned.log, pinned.note)
        assert pinned.block == blocks.header_hash(headers[pinned.log, pinned.height])
        sizes[pinned.log].append(checkpoint.size)
    return sizes


def test_every_log_is_pinned_goods_and_browse(system: System, item: str) -> None:
    for log in ("goods/0", "goods/1", "browse/0"):
        covered(system, log, 1)
    sizes = pinned_sizes(system)
    assert set(sizes) - {"index"} == {"goods/0", "goods/1", "browse/0"}
    assert all(each == sorted(each) for each in sizes.values())


def test_a_trace_is_proved_up_to_the_root(system: System, item: str) -> None:
    traced = json.loads(run(system, trace, item, "--root", "--json").stdout)
    assert set(traced["root"]) == {"goods/0", "goods/1"}
    for proof in traced["root"].values():
        assert proof["verified"]
        assert proof["size"] <= proof["pinned_size"]
        assert proof["kafka"]["next"] > proof["kafka"]["first"] >= 0
    assert "pinned by the root log" in run(system, trace, item, "--root").stdout


def test_rounds_go_on_where_the_killed_one_was(system: System, item: str) -> None:
    simulation = Simulation(SimulationOptions(seed=21, events=40, events_per_document=20))
    system.capture([document.to_bytes() for document in simulation.documents()])
    system.kill9("ledger")
    system.restart("ledger")
    system.wait_sealed(EVENTS + 40)
    for log in ("goods/0", "goods/1"):
        covered(system, log, 1)
    sizes = pinned_sizes(system)
    assert all(each == sorted(each) for each in sizes.values())
    checked = system.cli("verify", "--vkeys", str(system.key_dir))
    assert checked.returncode == 0, checked.stdout
    assert "root" in checked.stdout


def test_what_is_not_there_is_refused_in_words(system: System, item: str, tmp_path: Path) -> None:
    out = str(tmp_path / "proof")
    for arguments, problem in (
        (("goods/9", "0"), "no log of this name"),
        (("goods/0", "100000"), "must be below the size"),
        (("goods/0", "0", "--size", "100000"), "newest checkpoint"),
        (("urn:uuid:absent",), "nothing sealed has the event ID"),
    ):
        done = run(system, prove, *arguments, "--out", out, status=1)
        assert isinstance(done.exception, GoodstraceError)
        assert problem in str(done.exception)
    assert not Path(out).exists()


def test_proof_files_are_verified_with_every_service_down(system: System, item: str, tmp_path: Path) -> None:
    by_place, by_event = tmp_path / "place.tlog-proof", tmp_path / "event.tlog-proof"
    with system.client() as client:
        event = client.trace(item).events[0].event
    assert event.facts is not None
    run(system, prove, "goods/0", "3", "--out", str(by_place), "--json")
    run(system, prove, event.facts.event_id, "--out", str(by_event), "--with-parts")
    run(system, prove, "root", "0", "--out", str(tmp_path / "root.tlog-proof"))
    run(system, prove, "browse/0", "0", "--out", str(tmp_path / "browse.tlog-proof"))
    looks = [json.loads(record.part("what").content) for record in system.looks()]
    assert {each["method"] for each in looks} - {"ProveComplete", "GetRecords"} == {"Trace", "GetEvent"}
    assert [each["keys"] for each in looks if each["method"] == "GetEvent"].count([event.facts.event_id]) == 1

    for service in ("query", "audit"):
        system.kill9(service)
    try:
        vkeys = ("--vkeys", str(system.key_dir))
        files = [str(each) for each in sorted(tmp_path.glob("*.tlog-proof"))]
        done = run(system, verify, *files, *vkeys, "--json")
        assert len(json.loads(done.stdout)["files"]) == len(files) >= 4
        parts = by_event.with_name(by_event.name + PARTS_SUFFIX)
        shown = json.loads(run(system, verify, str(by_event), "--parts", str(parts), *vkeys, "--json").stdout)
        assert shown["files"][0]["parts"]["event"].encode() == event.content
        wrong = run(system, verify, str(by_place), "--parts", str(parts), *vkeys, status=1)
        assert "does not verify" in wrong.stdout
    finally:
        for service in ("audit", "query"):
            system.restart(service)


def test_rounds_are_counted(system: System, item: str) -> None:
    text = httpx.get(system.url("ledger", "/metrics")).text
    for name in ("rounds_total", "checkpoints_pinned_total", "round_failures_total", "lag_seconds"):
        assert f"\ngoodstrace_ledger_root_{name} " in text
    assert "\ngoodstrace_ledger_root_records_sealed_total " in text
