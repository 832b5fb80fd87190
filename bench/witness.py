"""How many cosignatures a second witnesses give, and what asking costs us: `python -m bench.witness`.

Each log grows by one entry a round and its checkpoint is cosigned, as the services ask for it, by litewitness (SQLite, Go)
and by our own witness (SQLite, Python). Prints a table; docs/decisions/0010-witnesses.md has the figures of one run.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.processes import HOST, free_port, is_listening
from goodstrace.checkpoint import Checkpoint, sign_checkpoint
from goodstrace.merkle import leaf_hashes
from goodstrace.note import Signer
from goodstrace.policy import Policy
from goodstrace.tiles import TileEdge, consistency_proof
from goodstrace.witnessing import AddCheckpoint
from services.sealing.cosigning import Cosignatures
from services.sealing.witness_client import WitnessClient, witness_clients
from tests.litewitness import Litewitness


@dataclass(frozen=True)
class Figures:
    """What one run gave: cosignatures a second, milliseconds of a request, our own CPU time of one."""

    rate: float
    median_ms: float
    p99_ms: float
    cpu_ms: float


def signers(logs: int) -> list[Signer]:
    """One key a log."""
    return [Signer(f"bench.example/instance/goods/{n}", n.to_bytes(32, "big")) for n in range(logs)]


def requests(signer: Signer, rounds: int, start: int) -> list[AddCheckpoint]:
    """The requests of a log that has `start` entries and grows by one a round."""
    hashes = leaf_hashes(b"%d" % number for number in range(start + rounds))
    edge, tiles = TileEdge().append(hashes[:start]) if start else (TileEdge(), {})
    made = []
    for size in range(start + 1, start + rounds + 1):
        edge, changed = edge.append(hashes[size - 1 : size])
        tiles |= changed
        old = size - 1 if size > start + 1 else 0
        proof = consistency_proof(old, size, tiles) if old else []
        note = sign_checkpoint(Checkpoint(signer.name, size, edge.frontier.root()), signer)
        made.append(AddCheckpoint(old, tuple(proof), note))
    return made


async def measure(client: WitnessClient, by_log: Sequence[Sequence[AddCheckpoint]]) -> Figures:
    """Ask for all logs at once, each in its order."""
    took_s: list[float] = []

    async def grow(asked: Sequence[AddCheckpoint]) -> None:
        for request in asked:
            began_s = time.perf_counter()
            answer = await client.add_checkpoint(request)
            assert isinstance(answer, Cosignatures), answer
            took_s.append(time.perf_counter() - began_s)

    began_s, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(grow(asked) for asked in by_log))
    whole_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    await client.close()
    return Figures(
        rate=len(took_s) / whole_s,
        median_ms=statistics.median(took_s) * 1000,
        p99_ms=statistics.quantiles(took_s, n=100)[98] * 1000,
        cpu_ms=cpu_s / len(took_s) * 1000,
    )


def client_of(line: str) -> WitnessClient:
    """Ask the witness of a policy line."""
    [client] = witness_clients(Policy.parse(f"{line}quorum none\n"), timeout_s=60)
    return client


def run_litewitness(
    folder: Path, keys: Sequence[Signer], by_log: Sequence[Sequence[AddCheckpoint]]
) -> Figures:
    """Measure filippo.io/torchwood/cmd/litewitness."""
    with Litewitness("witness.example/lite", folder) as witness:
        for signer in keys:
            witness.add_log(signer.verifier.vkey())
        return asyncio.run(measure(client_of(witness.policy_line("lite")), by_log))


def run_ours(folder: Path, keys: Sequence[Signer], by_log: Sequence[Sequence[AddCheckpoint]]) -> Figures:
    """Measure `goodstrace witness`."""
    command = [str(Path(sys.executable).parent / "goodstrace"), "witness", "--folder", str(folder)]
    made = subprocess.run(
        [*command, "--init", "--name", "witness.example/ours"], check=True, capture_output=True, text=True
    )
    port = free_port()
    [label, vkey] = next(
        line.split()[1:3] for line in made.stdout.splitlines() if line.startswith("witness ")
    )
    known = [part for signer in keys for part in ("--log", signer.verifier.vkey())]
    ports = ("--port", str(port), "--metrics-port", str(free_port()))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, *known, *ports], stdout=log, stderr=log)
    try:
        while not is_listening(port):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        return asyncio.run(measure(client_of(f"witness {label} {vkey} http://{HOST}:{port}\n"), by_log))
    finally:
        process.terminate()
        process.wait(20)


def main() -> None:
    """Measure both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=8, help="logs that grow at once")
    parser.add_argument("--rounds", type=int, default=100, help="checkpoints of each")
    parser.add_argument("--entries", type=int, default=5000, help="entries of each log before")
    options = parser.parse_args()
    keys = signers(options.logs)
    by_log = [requests(signer, options.rounds, options.entries) for signer in keys]
    size_bytes = statistics.mean(len(each.encode()) for asked in by_log for each in asked)
    print(
        f"{options.logs} logs of {options.entries} entries, {options.rounds} checkpoints each, {size_bytes:.0f} bytes"
    )
    print("witness      | cosignatures/s | median ms | p99 ms | our CPU ms")
    for name, run in (("litewitness", run_litewitness), ("goodstrace", run_ours)):
        with tempfile.TemporaryDirectory() as folder:
            found = run(Path(folder), keys, by_log)
        print(
            f"{name:12} | {found.rate:14.0f} | {found.median_ms:9.1f} | {found.p99_ms:6.1f} | {found.cpu_ms:10.2f}"
        )


if __name__ == "__main__":
    main()
