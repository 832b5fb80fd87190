"""The calls of the client for proofs to keep or hand on: that the root log covers a log, and of one entry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from goodstrace.errors import AnswerError, CallError
from goodstrace.log_keys import LogKeys
from goodstrace.proof_file import ProofFile, VerifiedProof
from goodstrace.proof_file import parse as parse_proof
from goodstrace.proof_file import verify as verify_proof
from goodstrace.query.v1 import trace_pb2, trace_pb2_grpc
from goodstrace.root_proof import RootProof, notes_in, verify_root_proof
from goodstrace.trusted_checkpoints import TrustedCheckpoints
from goodstrace.verification import VerifiedCheckpoint


class ProofCalls(ABC):
    """What `Client` has of these calls; see there."""

    _query: trace_pb2_grpc.TraceServiceStub
    _keys: LogKeys
    _trusted: TrustedCheckpoints

    @abstractmethod
    def _call(self, method: Callable[..., Any], request: Any) -> Any: ...

    def root_proof(self, covered: VerifiedCheckpoint) -> RootProof | None:
        """Prove that the root log covers a log at a size; None where it does not yet: it does within a few seconds.

        What is pinned is held against what is remembered of the log, and remembered, as is the root log's checkpoint.

        Args:
            covered: a checkpoint of any log but the root log, as `trace` and `checkpoints` give them.
        """
        request = trace_pb2.GetRootProofRequest(log=covered.log, size=covered.checkpoint.size)
        try:
            answer = self._call(self._query.GetRootProof, request)
        except CallError as error:
            if error.code == "OUT_OF_RANGE":
                return None
            raise
        for log, note in notes_in(answer):
            self._trusted.follow(log, note)
        proof = verify_root_proof(answer, covered, self._keys)
        self._trusted.check_growth(proof.root)
        # Else the root log could cover another history than the one that is shown here. What is pinned is signed, and may lack cosignatures.
        self._trusted.remember(proof.pinned)
        return proof

    def proof_file(self, log: str, index: int, size: int = 0) -> tuple[ProofFile, VerifiedProof]:
        """Get a proof of an entry to store or hand on: a tlog-proof that holds the entry; and what it shows, verified.

        Args:
            log: the log's name, such as "goods/3".
            index: of the entry, from 0.
            size: of the checkpoint to prove it under; 0 for the newest.
        """
        request = trace_pb2.GetProofFileRequest(log=log, index=index, size=size)
        proof = parse_proof(self._call(self._query.GetProofFile, request).proof)
        self._trusted.follow(log, proof.checkpoint)
        verified = verify_proof(proof, self._keys)
        if (verified.log, verified.index) != (log, index) or size not in (0, verified.checkpoint.size):
            raise AnswerError(f"asked for {log}[{index}] and got {verified.log}[{verified.index}]")
        self._trusted.check_growth(VerifiedCheckpoint(log, verified.checkpoint, proof.checkpoint))
        return proof, verified
