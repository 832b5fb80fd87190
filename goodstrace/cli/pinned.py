"""`goodstrace trace --root`: whether what an answer rests on is covered by the root log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console

from goodstrace.client import Client
from goodstrace.root_proof import RootProof
from goodstrace.verification import VerifiedCheckpoint

_WAIT_S: Final = 15.0
_EVERY_S: Final = 0.3

Pinned = Mapping[str, RootProof | None]


def root_proofs(client: Client, checkpoints: Mapping[str, VerifiedCheckpoint]) -> Pinned:
    """Prove each checkpoint up to the root log, by name of its log; None where it is not covered within 15 seconds."""
    until = time.monotonic() + _WAIT_S
    found: dict[str, RootProof | None] = {}
    for log, checkpoint in sorted(checkpoints.items()):
        while (proof := client.root_proof(checkpoint)) is None and time.monotonic() < until:
            time.sleep(_EVERY_S)
        found[log] = proof
    return found


def show_pinned(pinned: Pinned, out: Console) -> None:
    """Print one line for each log."""
    for log, proof in pinned.items():
        if proof is None:
            out.print(f"  [yellow]{log}: not covered by the root log yet[/yellow]")
            continue
        kafka = proof.header.kafka
        out.print(
            f"  [green]{log}: pinned by the root log of {proof.root.checkpoint.size} entries[/green] [dim]at"
            f" root\\[{proof.entry.index}], block {proof.header.height} of {proof.pinned.checkpoint.size} entries,"
            f" Kafka offsets {kafka.first} to {kafka.next - 1}[/dim]"
        )


def pinned_document(pinned: Pinned) -> dict[str, Any]:
    """Give the proofs as JSON-like values, by log; null where a log is not covered yet."""
    return {log: _document(proof) if proof else None for log, proof in pinned.items()}


def _document(proof: RootProof) -> dict[str, Any]:
    return {
        "verified": True,
        "size": proof.covered.checkpoint.size,
        "pinned_size": proof.pinned.checkpoint.size,
        "root_size": proof.root.checkpoint.size,
        "root_index": proof.entry.index,
        "root_checkpoint": proof.root.note,
        "block": proof.header.height,
        "kafka": {
            "topic": proof.header.kafka.topic,
            "partition": proof.header.kafka.partition,
            "first": proof.header.kafka.first,
            "next": proof.header.kafka.next,
        },
    }
