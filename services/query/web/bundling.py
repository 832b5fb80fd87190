"""Proof bundles out of answers and public faces: what the browser verifies, and what is kept for `goodstrace verify`. Pure."""

from collections.abc import Iterable

from goodstrace.log.v1 import log_pb2
from goodstrace.proof_bundle import FORMAT, MAX_ENTRIES, BundledCheckpoint, BundledEntry, ProofBundle
from goodstrace.proof_file import DisclosedPart
from goodstrace.query.v1 import trace_pb2
from services.query.web.face import Face


def of_trace(answer: trace_pb2.TraceResponse, named: Iterable[log_pb2.SealedEntry] = ()) -> ProofBundle:
    """Bundle what a page of a trace shows: its events with all places where they are sealed, and the envelopes of what is withheld.

    named: registrations that names on the page come from, under the answer's checkpoints; as many as fit.
    """
    sealed = [place for event in answer.events for place in (event.sealed, *event.also_at) if place.log]
    sealed += [each.sealed for each in answer.withheld_entries]
    there = {(each.log, each.index) for each in sealed}
    more = [each for each in named if (each.log, each.index) not in there]
    sealed += more[: max(0, MAX_ENTRIES - len(there))]
    return _bundle(answer.key, sealed, {each.log: each.note for each in answer.checkpoints})


def of_face(face: Face) -> ProofBundle:
    """Bundle what a public face shows: the registration's record."""
    return _bundle(face.key, face.sealed, {log: stored.note for log, stored in face.checkpoints.items()})


def of_entries(
    key: str, sealed: Iterable[log_pb2.SealedEntry], checkpoints: Iterable[log_pb2.Checkpoint]
) -> ProofBundle:
    """Bundle entries with the checkpoints that their proofs lead to; `key` says what was asked for."""
    return _bundle(key, sealed, {each.log: each.note for each in checkpoints})


def _bundle(key: str, sealed: Iterable[log_pb2.SealedEntry], notes: dict[str, str]) -> ProofBundle:
    entries = {(each.log, each.index): _entry(each) for each in sealed}
    needed = sorted({log for log, _ in entries} or notes.keys())
    return ProofBundle(
        checkpoints=tuple(BundledCheckpoint(log, notes[log]) for log in needed),
        entries=tuple(entries.values()),
        format=FORMAT,
        key=key,
    )


def _entry(sealed: log_pb2.SealedEntry) -> BundledEntry:
    return BundledEntry(
        entry=sealed.entry,
        index=sealed.index,
        log=sealed.log,
        parts=tuple(DisclosedPart(part.content, part.name, part.salt) for part in sealed.parts),
        proof=tuple(sealed.inclusion_proof),
    )
