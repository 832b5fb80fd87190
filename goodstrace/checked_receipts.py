"""Checking receipts that were kept: each against its log, and its signature where the service's keys are at hand. No I/O but by what it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from goodstrace.errors import QuorumError, SignatureError, UnknownLogError, VerificationError
from goodstrace.receipt_store import Kept
from goodstrace.receipts import BrowseProof, Receipt, Standing, check_signed

Prove = Callable[[Kept], BrowseProof]
"""Demands the proof of a kept receipt, as `Client.browse_proof` does."""


class Signed(StrEnum):
    """What is known of a receipt's signature; UNKNOWN: its key is not published any more."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "key unknown"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Checked:
    """A kept receipt, and what came of checking it.

    Attributes:
        standing: None where that could not be checked.
        problem: what does not hold; empty where all does, or it is not sealed yet.
        unchecked: why it could not be checked: the log's key is not among those that are trusted, or its checkpoint is not cosigned yet as they ask.
    """

    kept: Kept
    standing: Standing | None
    index: int | None
    signed: Signed
    problem: str = ""
    unchecked: str = ""

    @property
    def is_broken(self) -> bool:
        """Whether the service has broken its word: the look is missing, or what it shows does not hold."""
        return bool(self.problem)


def check_receipts(
    kept: Iterable[Kept],
    prove: Prove,
    keys: Mapping[str, Mapping[str, str]],
    is_late: Callable[[Kept], bool],
) -> Iterator[Checked]:
    """Check receipts, one after the other; `is_late` tells of which looks the time in which they are sealed is over. Raises: CallError where the service does not answer."""
    for each in kept:
        yield _checked(each, prove, keys, is_late)


def _checked(
    kept: Kept, prove: Prove, keys: Mapping[str, Mapping[str, str]], is_late: Callable[[Kept], bool]
) -> Checked:
    signed, problem = _signed(kept.receipt, keys)
    try:
        proof = prove(kept)
    except UnknownLogError as error:  # what is trusted here does not reach as far
        return Checked(kept, None, None, signed, problem, str(error))
    except QuorumError as error:
        # Else a service that denies a look would only have to keep its witnesses away from what it answers.
        if kept.index is None and not is_late(kept):
            return Checked(kept, None, None, signed, problem, str(error))
        return Checked(kept, Standing.MISSING, None, signed, problem or str(error))
    except VerificationError as error:
        return Checked(kept, Standing.MISSING, None, signed, str(error))
    if proof.standing is Standing.MISSING:
        problem = problem or "the service has answered this look and does not have it in its log"
    elif proof.standing is Standing.NOT_YET and kept.index is not None:
        problem = problem or f"it was sealed as {kept.receipt.log}[{kept.index}] and is not there any more"
    index = proof.entry.index if proof.entry else None
    return Checked(kept, proof.standing, index, signed, problem)


def _signed(receipt: Receipt, keys: Mapping[str, Mapping[str, str]]) -> tuple[Signed, str]:
    try:
        if check_signed(receipt, keys):
            return Signed.YES, ""
    except SignatureError as error:
        return Signed.WRONG, str(error)
    return (Signed.UNKNOWN if receipt.signed else Signed.NO), ""
