"""What a lying service may do to an answer of Trace. Each forgery must be refused."""

from collections.abc import Callable, Mapping

from goodstrace.log.v1 import log_pb2
from goodstrace.note import Note, parse_note
from goodstrace.query.v1 import trace_pb2
from tests.unit.fake_services import FakeLog

Answer = trace_pb2.TraceResponse


def forgeries(answer: Answer, log: FakeLog) -> Mapping[str, Answer]:
    """Forge an answer in every way, by what it is.

    Args:
        answer: with at least three events, the first ones of `log`, and two checkpoints, the first one that of `log`, cosigned.
        log: whose key a forger does not have but where it says so.
    """
    other_key, other_tree = FakeLog(log.name, 77), log.forked(0)
    other_key.records = log.records
    cosigned = parse_note(answer.checkpoints[0].note)
    notes = {
        "the size of a checkpoint is another one": answer.checkpoints[0].note.replace(
            f"\n{log.size}\n", f"\n{log.size + 1}\n", 1
        ),
        "another key of the same name has signed": other_key.checkpoint().note,
        "a checkpoint of another tree, signed by the log": other_tree.checkpoint().note,
        "the witness alone has signed": Note(cosigned.text, cosigned.signatures[1:]).encode(),
        "the checkpoint of another log": answer.checkpoints[1].note,
    }
    done: dict[str, Callable[[Answer], object]] = {
        **{what: lambda answer, note=note: _set_note(answer, note) for what, note in notes.items()},
        **_OF_ANSWERS,
        **{
            what: lambda answer, change=change: change(answer.events[0].sealed)
            for what, change in _OF_ENTRIES.items()
        },
    }
    return {what: _forged(answer, change) for what, change in done.items()}


def _forged(answer: Answer, change: Callable[[Answer], object]) -> Answer:
    changed = Answer()
    changed.CopyFrom(answer)
    change(changed)
    assert changed != answer
    return changed


def _set_note(answer: Answer, note: str) -> None:
    answer.checkpoints[0].note = note


def _flipped(data: bytes) -> bytes:
    """The bytes with one bit changed, in the middle."""
    at = len(data) // 2
    return bytes((*data[:at], data[at] ^ 1, *data[at + 1 :]))


def _part(sealed: log_pb2.SealedEntry, name: str) -> log_pb2.DisclosedPart:
    return next(each for each in sealed.parts if each.name == name)


def _change_event(sealed: log_pb2.SealedEntry) -> None:
    part = _part(sealed, "event")
    part.content = _flipped(part.content)


def _change_facts(sealed: log_pb2.SealedEntry) -> None:
    part = _part(sealed, "facts")
    part.content = _flipped(part.content)


def _change_salt(sealed: log_pb2.SealedEntry) -> None:
    part = _part(sealed, "event")
    part.salt = _flipped(part.salt)


def _change_entry(sealed: log_pb2.SealedEntry) -> None:
    sealed.entry = sealed.entry.replace(b'"merchant":1', b'"merchant":2')


def _change_hash(sealed: log_pb2.SealedEntry) -> None:
    sealed.inclusion_proof[0] = _flipped(sealed.inclusion_proof[0])


def _change_index(sealed: log_pb2.SealedEntry) -> None:
    sealed.index += 1


def _change_identity(answer: Answer) -> None:
    answer.events[0].identity = "00" * 32


def _hide_link(answer: Answer) -> None:
    linking = answer.nodes[0].links[0].identities[0]
    kept = [each for each in answer.events if each.identity != linking]
    del answer.events[:]
    answer.events.extend(kept)
    answer.total_events = len(kept)


_OF_ANSWERS: Mapping[str, Callable[[Answer], object]] = {
    "a checkpoint is missing": lambda answer: answer.checkpoints.pop(0),
    "a log has two checkpoints": lambda answer: answer.checkpoints.append(answer.checkpoints[0]),
    "the identity is another one": _change_identity,
    "the record of another event stands for it": lambda answer: answer.events[0].sealed.CopyFrom(
        answer.events[1].sealed
    ),
    "an event is missing": lambda answer: answer.events.pop(),
    "an event is shown twice": lambda answer: answer.events.append(answer.events[0]),
    "an event that makes a link is left out, and not counted": _hide_link,
}
_OF_ENTRIES: Mapping[str, Callable[[log_pb2.SealedEntry], object]] = {
    "a byte of the event is another one": _change_event,
    "a byte of the facts is another one": _change_facts,
    "a salt is another one": _change_salt,
    "a part is shown twice": lambda sealed: sealed.parts.append(sealed.parts[0]),
    "the entry is another one": _change_entry,
    "a hash of the proof is another one": _change_hash,
    "a hash of the proof is missing": lambda sealed: sealed.inclusion_proof.pop(),
    "the proof has a hash too many": lambda sealed: sealed.inclusion_proof.append(bytes(32)),
    "the index is another one": _change_index,
}
