"""C2SP trust policies: which logs and witnesses are known, and which cosignatures make a checkpoint one to rely on.

Source: c2sp.org/tlog-policy. Octets beyond ASCII are opaque: names are compared as they are, never normalised.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from goodstrace.checkpoint import open_checkpoint
from goodstrace.cosignature import CosignatureVerifier
from goodstrace.errors import CheckpointError, NoteError, PolicyError
from goodstrace.note import NoteKey, Verifier, parse_note

NONE: Final = "none"
"""The quorum that asks for no cosignature."""
MAX_POLICY_BYTES: Final = 1024 * 1024
MAX_KEYS: Final = 10_000
"""The most logs and witnesses together; the specification asks for 32 of each."""

_FORBIDDEN: Final = re.compile(r"[^\t\n -~\x80-\U0010ffff]")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)
_SPACE: Final = re.compile(r"[ \t]+")


@dataclass(frozen=True, slots=True)
class PolicyLog:
    """A log that is known; its key is named after the log's origin."""

    verifier: Verifier
    url: str | None


@dataclass(frozen=True, slots=True)
class PolicyWitness:
    """A witness that is known; `name` is the policy's own and need not be the key's. `url` is its submission prefix."""

    name: str
    verifier: CosignatureVerifier
    url: str | None


@dataclass(frozen=True, slots=True)
class PolicyGroup:
    """Witnesses and groups of which at least `threshold` must have cosigned, 1..len(members)."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as `parse` read it.

    Attributes:
        logs: no two of one key; none where the log is known otherwise.
        witnesses: no two of one key or one name.
        groups: in the order of the file: each after its members.
        quorum: the name of a witness or group, or NONE.
    """

    logs: tuple[PolicyLog, ...]
    witnesses: tuple[PolicyWitness, ...]
    groups: tuple[PolicyGroup, ...]
    quorum: str

    @classmethod
    def parse(cls, text: str | bytes) -> Policy:
        """Read a policy file. Raises: PolicyError, which names the line; nothing else, whatever the bytes."""
        if isinstance(text, bytes):
            text = text.decode(errors="surrogateescape")
        if len(text) > MAX_POLICY_BYTES:
            raise PolicyError(f"the policy is over {MAX_POLICY_BYTES} bytes")
        parser = _Parser()
        for number, items in _lines(text):
            try:
                parser.read(items)
            except (PolicyError, NoteError) as error:
                raise PolicyError(f"line {number}: {error}") from error
        if parser.quorum is None:
            raise PolicyError(f"there is no quorum line; `quorum {NONE}` asks for no cosignature")
        return cls(tuple(parser.logs), tuple(parser.witnesses), tuple(parser.groups), parser.quorum)

    def is_satisfied(self, names: Collection[str]) -> bool:
        """Tell whether cosignatures of the witnesses of these names (the policy's) make the quorum."""
        known = {witness.name for witness in self.witnesses}
        reached = {NONE, *(name for name in names if name in known)}
        for group in self.groups:
            if sum(member in reached for member in group.members) >= group.threshold:
                reached.add(group.name)
        return self.quorum in reached

    def cosigners(self, note: str | bytes) -> frozenset[str]:
        """Tell which witnesses (by the policy's names) have cosigned a note; signatures of other keys are ignored.

        Raises: NoteError, if the note is malformed or a known witness's cosignature in it is wrong.
        """
        parsed = parse_note(note)
        witnesses = {_key_of(witness.verifier): witness for witness in self.witnesses}
        names = set()
        for signature in parsed.signatures:
            witness = witnesses.get((signature.name, signature.key_id))
            if witness is not None:
                witness.verifier.verify(signature, parsed.text)
                names.add(witness.name)
        return frozenset(names)

    def satisfied_by(self, note: str | bytes) -> bool:
        """Tell whether a note is a checkpoint that one of the policy's logs signed and its quorum of witnesses cosigned.

        A policy without logs leaves the log's own signature to the caller. A wrong signature of any known key, a log's
        or a witness's, refuses the note.
        """
        try:
            if self.logs:
                open_checkpoint(note, [log.verifier for log in self.logs])
            return self.is_satisfied(self.cosigners(note))
        except (NoteError, CheckpointError):
            return False


class _Parser:
    """Reads a policy's lines one after the other; `read` raises PolicyError or NoteError, without the line's number."""

    def __init__(self) -> None:
        self.logs: list[PolicyLog] = []
        self.witnesses: list[PolicyWitness] = []
        self.groups: list[PolicyGroup] = []
        self.quorum: str | None = None
        self._names: set[str] = set()
        self._members: set[str] = set()
        self._log_keys: set[bytes] = set()
        self._witness_keys: set[bytes] = set()
        self._key_ids: set[tuple[str, bytes]] = set()

    def read(self, items: list[str]) -> None:
        """Read one line's items, at least one."""
        readers = {"log": self._log, "witness": self._witness, "group": self._group, "quorum": self._quorum}
        reader = readers.get(items[0])
        if reader is None:
            raise PolicyError(f"{items[0]!r} is none of {', '.join(readers)}")
        reader(items[1:])

    def _log(self, items: list[str]) -> None:
        if len(items) not in (1, 2):
            raise PolicyError("a log is written: log <vkey> [<url>]")
        log = PolicyLog(Verifier.parse(items[0]), _second(items[1:]))
        self._know(log.verifier, self._log_keys)
        self.logs.append(log)

    def _witness(self, items: list[str]) -> None:
        if len(items) not in (2, 3):
            raise PolicyError("a witness is written: witness <name> <vkey> [<url>]")
        witness = PolicyWitness(items[0], CosignatureVerifier.parse(items[1]), _second(items[2:]))
        self._name(witness.name)
        self._know(witness.verifier, self._witness_keys)
        self.witnesses.append(witness)

    def _group(self, items: list[str]) -> None:
        if len(items) < 3:
            raise PolicyError("a group is written: group <name> all|any|<k> <name>...")
        name, wanted, *members = items
        for member in members:
            self._member(member)
        threshold = {"all": len(members), "any": 1}.get(wanted)
        if threshold is None:
            if not _NUMBER.fullmatch(wanted) or not 1 <= int(wanted) <= len(members):
                raise PolicyError(f"{wanted!r} is not all, any, or a number in 1..{len(members)}")
            threshold = int(wanted)
        self._name(name)
        self.groups.append(PolicyGroup(name, threshold, tuple(members)))

    def _quorum(self, items: list[str]) -> None:
        if len(items) != 1:
            raise PolicyError("a quorum is written: quorum <name>")
        if self.quorum is not None:
            raise PolicyError("there is a quorum line already")
        if items[0] != NONE and items[0] not in self._names:
            raise PolicyError(f"no line above defines {items[0]!r}")
        self.quorum = items[0]

    def _name(self, name: str) -> None:
        if name == NONE or name in self._names:
            raise PolicyError(f"the name {name!r} is taken")
        self._names.add(name)

    def _member(self, name: str) -> None:
        if name not in self._names:
            raise PolicyError(f"no line above defines {name!r}")
        if name in self._members:
            raise PolicyError(f"{name!r} is a member of a group already, and may be of one only")
        self._members.add(name)

    def _know(self, key: NoteKey, keys: set[bytes]) -> None:
        if len(self.logs) + len(self.witnesses) >= MAX_KEYS:
            raise PolicyError(f"there are over {MAX_KEYS} logs and witnesses")
        if key.public_key in keys or _key_of(key) in self._key_ids:
            raise PolicyError(f"the public key of {key.name!r} is that of a line above")
        keys.add(key.public_key)
        self._key_ids.add(_key_of(key))


def _key_of(key: NoteKey) -> tuple[str, bytes]:
    return key.name, key.key_id


def _second(items: list[str]) -> str | None:
    return items[0] if items else None


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if _FORBIDDEN.search(line):
            raise PolicyError(f"line {number}: there is a control character")
        items = [item for item in _SPACE.split(line) if item]
        if items and not items[0].startswith("#"):
            yield number, items
