"""Receipts of looks: what whoever looked keeps, and demands the proof by. No I/O.

A receipt names the entry of the browse record by its leaf hash, so that the service cannot put another one in its place. Signed, it is the
service's word that the look was recorded: together with the log, which anybody can read, it shows where that word was broken.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from goodstrace.entry import HASH_BYTES, ID_BYTES, Kind, encode
from goodstrace.errors import AnswerError, SignatureError
from goodstrace.log.v1 import log_pb2
from goodstrace.merkle import leaf_hash
from goodstrace.verification import VerifiedCheckpoint, VerifiedEntry

TYPE: Final = "browse-receipt+jwt"
SEALED_WITHIN_S: Final = 60.0
"""How long after a look its record is sealed at the latest, unless something is wrong; usually it is within two seconds."""
AHEAD_S: Final = 600.0
"""How far the service's clock may be ahead of the client's: a receipt is of a look that was made, so more is a wrong clock or a lie."""
_MAX_SIGNED: Final = 2048
_MAX_TIME_MS: Final = 253_402_300_799_999
"""The end of the year 9999, behind which nothing can write a time."""
_LOG: Final = re.compile(r"browse/[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receipt.

    browse_id: the record ID, hex. leaf_hash: of its entry, 32 bytes. log: that it is to be sealed into. time_ms: the record's time. signed: a JWS, or "".
    """

    browse_id: str
    leaf_hash: bytes
    log: str
    time_ms: int
    signed: str = ""


class Standing(StrEnum):
    """How a look stands in its log."""

    SEALED = "sealed"
    NOT_YET = "not sealed yet"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class BrowseProof:
    """What the log says of a receipt under a verified checkpoint; None where nothing of the log is published yet. `entry` where it is sealed."""

    receipt: Receipt
    standing: Standing
    checkpoint: VerifiedCheckpoint | None
    entry: VerifiedEntry | None = None


def read_receipt(message: log_pb2.BrowseReceipt) -> Receipt:
    """Read a receipt out of an answer. Raises: AnswerError where it is none."""
    is_id = re.fullmatch(rf"[0-9a-f]{{{2 * ID_BYTES}}}", message.browse_id)
    if not is_id or len(message.leaf_hash) != HASH_BYTES or not _LOG.fullmatch(message.log):
        raise AnswerError("the answer's receipt of the look is malformed")
    if message.time_ms > _MAX_TIME_MS:
        raise AnswerError("the answer's receipt of the look is malformed: its time is none")
    if len(message.signed) > _MAX_SIGNED:
        raise AnswerError("the answer's receipt of the look is too long")
    return Receipt(message.browse_id, message.leaf_hash, message.log, message.time_ms, message.signed)


def receipt_in(answer: Any) -> Receipt | None:
    """Give the receipt of an answer, or of a message of a stream; None where it has none.

    Raises: AnswerError where it is malformed, or of another look than the answer says.
    """
    if "receipt" not in answer.DESCRIPTOR.fields_by_name or not answer.HasField("receipt"):
        return None
    receipt = read_receipt(answer.receipt)
    if receipt.browse_id != answer.browse_id:
        raise AnswerError("the answer's receipt is of another look")
    return receipt


def receipts_in(pages: Iterable[Any]) -> tuple[Receipt, ...]:
    """Give the receipts of the pages of an answer, of those that have one. Raises: AnswerError."""
    found = (receipt_in(page) for page in pages)
    return tuple(each for each in found if each is not None)


def check_sealed(receipt: Receipt, found: VerifiedEntry) -> None:
    """Check that a proved entry is the one that a receipt names. Raises: AnswerError."""
    is_it = (
        found.log == receipt.log
        and leaf_hash(encode(found.entry)) == receipt.leaf_hash
        and found.entry.id == receipt.browse_id
        and found.entry.kind == Kind.BROWSE
    )
    if not is_it:
        raise AnswerError(f"{found.log}[{found.index}] is not the record of the look {receipt.browse_id}")


def check_date(receipt: Receipt, *, now_s: float) -> None:
    """Check that a receipt that has just come is not dated far ahead of the client's clock. Raises: AnswerError."""
    ahead_s = receipt.time_ms / 1000 - now_s
    if ahead_s > AHEAD_S:
        raise AnswerError(
            f"the answer's receipt of the look is dated {ahead_s / 60:,.0f} minutes ahead of this machine's clock: one of the two is wrong"
        )


def standing(
    receipt: Receipt, *, now_s: float, within_s: float = SEALED_WITHIN_S, received_ms: int | None = None
) -> Standing:
    """Say how a look stands that no entry is found of.

    Args:
        receipt: of the look.
        now_s: the client's clock.
        within_s: how long after the look it may not be sealed yet.
        received_ms: when the receipt came, by the client's clock. The receipt's time is the service's word: dated ahead, it would
            put off for as long as it likes that the look is missing. None where that is not known.
    """
    looked_ms = receipt.time_ms if received_ms is None else min(receipt.time_ms, received_ms)
    is_late = now_s - looked_ms / 1000 > within_s
    return Standing.MISSING if is_late else Standing.NOT_YET


def check_signed(receipt: Receipt, keys: Mapping[str, Mapping[str, str]]) -> bool:
    """Check the signature of a receipt; False where it has none, or by a key that is not among `keys`.

    Args:
        receipt: a receipt.
        keys: public JSON Web Keys by ID, Ed25519 alone.
    Raises: SignatureError where it is signed wrongly, or says something else than the receipt.
    Source: RFC 7515 section 5.2, RFC 8037 section 3.1.
    """
    if not receipt.signed:
        return False
    try:
        header, payload, signature = receipt.signed.split(".")
        named, said = json.loads(_decoded(header)), json.loads(_decoded(payload))
        if (named["alg"], named["typ"]) != ("EdDSA", TYPE):
            raise SignatureError("the receipt is signed as something else")
        told = (said["jti"], _decoded(said["leaf"]), said["log"], said["iat_ms"])
        key = keys.get(named["kid"])
        if told != (receipt.browse_id, receipt.leaf_hash, receipt.log, receipt.time_ms):
            raise SignatureError("what is signed is another receipt")
        if key is None or (key["kty"], key["crv"]) != ("OKP", "Ed25519"):
            return False
        public = Ed25519PublicKey.from_public_bytes(_decoded(key["x"]))
        public.verify(_decoded(signature), f"{header}.{payload}".encode())
    except InvalidSignature:
        raise SignatureError("the signature of the receipt does not hold") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise SignatureError("the signature of the receipt is malformed") from error
    return True


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
