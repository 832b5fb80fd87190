"""A fake witness in memory, and policies of such: it judges as a real one does, and can be told to misbehave."""

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from http import HTTPStatus

from goodstrace.cosignature import Cosigner
from goodstrace.note import Verifier
from goodstrace.policy import Policy
from goodstrace.witnessing import AddCheckpoint, Conflict, Cosigned, Refusal, decide
from services.sealing.cosigning import Answer, Cosignatures, Fault, FaultKind, Holds

UNIX_S = 1_700_000_000


class FakeWitness:
    """Implements publishing.Witness.

    Attributes:
        logs: the keys of the logs that it knows, by origin.
        seen: what it cosigned last of each log, by origin. asked: the sizes it was asked for, in order.
        dead: it cannot be reached.
        lying: it says this size to everyone.
    """

    def __init__(self, name: str) -> None:
        self.label = name
        self.names = frozenset([name])
        self.cosigner = Cosigner(f"witness.example/{name}", sha256(name.encode()).digest())
        self.logs: dict[str, Verifier] = {}
        self.seen: dict[str, Cosigned] = {}
        self.asked: list[int] = []
        self.dead = False
        self.lying: int | None = None
        self.closed = False
        self._answers = asyncio.Event()
        self._answers.set()

    def silence(self, *, silent: bool = True) -> None:
        """Accept requests and answer nothing, until told to answer again."""
        if silent:
            self._answers.clear()
        else:
            self._answers.set()

    def line(self, url: str = "") -> str:
        return f"witness {self.label} {self.cosigner.verifier.vkey()} {url}\n"

    async def add_checkpoint(self, request: AddCheckpoint) -> Answer:
        self.asked.append(int(request.note.split("\n")[1]))
        await asyncio.sleep(0)
        await self._answers.wait()
        if self.dead:
            return Fault(FaultKind.UNAVAILABLE, "dead")
        if self.lying is not None:
            return Holds(self.lying)
        return self._decide(request)

    def _decide(self, request: AddCheckpoint) -> Answer:
        seen = self.seen.get(request.origin, Cosigned())
        decision = decide(seen, request, [self.logs[request.origin]] if request.origin in self.logs else [])
        if isinstance(decision, Conflict):
            return Holds(decision.size)
        if isinstance(decision, Refusal):
            forked = decision.status == HTTPStatus.UNPROCESSABLE_ENTITY
            return Fault(FaultKind.FORK if forked else FaultKind.UNKNOWN_LOG, decision.reason)
        self.seen[request.origin] = Cosigned(decision.checkpoint.size, decision.checkpoint.root)
        return Cosignatures({self.label: self.cosigner.cosign(decision.note.text, UNIX_S)})

    async def close(self) -> None:
        self.closed = True


def policy_of(witnesses: Sequence[FakeWitness], threshold: int) -> Policy:
    """A quorum of `threshold` of the witnesses; 0 for none."""
    names = " ".join(witness.label for witness in witnesses)
    group = f"group all-of-them {threshold} {names}\nquorum all-of-them\n" if threshold else "quorum none\n"
    return Policy.parse("".join(witness.line() for witness in witnesses) + group)
