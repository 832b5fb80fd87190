"""The calls of the client about receipts: each that comes is handed on, and the proof of its look can be demanded."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import grpc

from goodstrace.audit.v1 import audit_pb2, audit_pb2_grpc
from goodstrace.errors import AnswerError, CallError
from goodstrace.receipts import (
    SEALED_WITHIN_S,
    BrowseProof,
    Receipt,
    Standing,
    check_date,
    check_sealed,
    receipt_in,
    standing,
)
from goodstrace.trusted_checkpoints import TrustedCheckpoints, once_more
from goodstrace.verification import verify_entry

OnReceipt = Callable[[Receipt], None]


class ReceiptCalls(ABC):
    """What `Client` has of these calls; see there."""

    _audit_channel: grpc.Channel | None
    _on_receipt: OnReceipt | None
    _trusted: TrustedCheckpoints

    @abstractmethod
    def _call(self, method: Callable[..., Any], request: Any) -> Any: ...

    @once_more
    def browse_proof(
        self, receipt: Receipt, *, within_s: float = SEALED_WITHIN_S, received_ms: int | None = None
    ) -> BrowseProof:
        """Demand the proof that the look of a receipt is sealed, and verify it.

        Args:
            receipt: of an answer.
            within_s: how long after the look it may not be sealed yet; later it is missing.
            received_ms: when the receipt came, Unix milliseconds; where it is given, what the receipt dates ahead of it does not count.
        Raises: ValueError where the client has no `audit_target`; AnswerError where another entry is shown for it; else as all calls.
        """
        if self._audit_channel is None:
            raise ValueError("browse_proof wants a client with an audit_target")
        asked_at_s, held = time.time(), self._trusted.held()

        def unsealed() -> Standing:
            return standing(receipt, now_s=asked_at_s, within_s=within_s, received_ms=received_ms)

        request = audit_pb2.GetBrowseProofRequest(browse_id=receipt.browse_id, log=receipt.log)
        try:
            get_proof = audit_pb2_grpc.AuditServiceStub(self._audit_channel).GetBrowseProof
            answer = self._call(get_proof, request)
        except CallError as error:
            if error.code != "NOT_FOUND":
                raise
            return BrowseProof(receipt, unsealed(), None)
        if answer.checkpoint.log != receipt.log:
            raise AnswerError(f"asked about {receipt.log} and answered about {answer.checkpoint.log}")
        checkpoints = self._trusted.opened([[answer.checkpoint]], held)
        if not answer.HasField("sealed"):
            return BrowseProof(receipt, unsealed(), checkpoints[receipt.log])
        entry = verify_entry(answer.sealed, checkpoints)
        check_sealed(receipt, entry)
        return BrowseProof(receipt, Standing.SEALED, checkpoints[receipt.log], entry)

    def _received(self, answer: Any) -> None:
        """Hand the receipt of an answer on, before anything else is checked: the look was made whatever the answer is worth.

        Raises: AnswerError where the receipt is malformed, or dated far ahead.
        """
        receipt = receipt_in(answer)
        if receipt is None:
            return
        if self._on_receipt is not None:
            self._on_receipt(receipt)
        check_date(receipt, now_s=time.time())
