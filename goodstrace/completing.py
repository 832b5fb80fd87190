"""What a client does to have an answer proved complete: gets the secret once, asks, checks; or says why that cannot be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from goodstrace.complete import Complete, TooMuchError, check_complete
from goodstrace.completeness_calls import ServiceProver
from goodstrace.errors import CallError, GoodstraceError, UnknownLogError
from goodstrace.log.v1 import log_pb2
from goodstrace.log_keys import INDEX_LOG, LogKeys
from goodstrace.query.v1 import completeness_pb2
from goodstrace.retrace import ShownEvent
from goodstrace.tracing import Query
from goodstrace.trusted_checkpoints import TrustedCheckpoints
from goodstrace.verification import VerifiedCheckpoint

if TYPE_CHECKING:
    from goodstrace.query.v1 import trace_pb2

TOKEN_METADATA: Final = "goodstrace-index-token"  # noqa: S105 - a name; beside the API key, which is in `authorization`
_NOT_OFFERED: Final = ("UNIMPLEMENTED", "PERMISSION_DENIED", "OUT_OF_RANGE")


class Completing:
    """Has answers proved complete by one service."""

    def __init__(
        self,
        stub: Any,
        call: Callable[..., Any],
        trusted: TrustedCheckpoints,
        keys: LogKeys,
        *,
        purpose: str,
        token: str,
    ) -> None:
        """Ask by `stub`'s methods through `call`.

        Args:
            stub: of CompletenessService.
            call: calls a method with a request and further metadata. Raises: CallError.
            trusted: verifies a checkpoint, and that it contains what was seen of its log before.
            keys: that are trusted.
            purpose: why, for the browse records.
            token: shown to get the index secret; empty for none.
        """
        self._stub, self._call, self._trusted, self._keys = stub, call, trusted, keys
        self._purpose, self._token = purpose, token
        self._secret = b""

    def completed(
        self,
        query: Query,
        nodes: Sequence[trace_pb2.TraceNode],
        events: Sequence[ShownEvent],
        checkpoints: Mapping[str, VerifiedCheckpoint],
        *,
        whole: bool,
        must: bool,
    ) -> tuple[Complete | None, str]:
        """Check that a whole answer leaves nothing out; where that cannot be told, say why.

        Args:
            query: what was asked, with the canonical key.
            nodes: of the answer, verified.
            events: of the answer, verified.
            checkpoints: that it was made from.
            whole: whether it shows all that there is: it is neither truncated nor filtered.
            must: raise where it cannot be told.
        Raises: LeftOutError, and whatever else says that proofs do not hold; CallError; where it must be told UnknownLogError
            and TooMuchError too.
        """
        reason: GoodstraceError
        try:
            if INDEX_LOG not in self._keys.logs():
                reason = UnknownLogError("the key of the log `index` is not among those trusted")
            elif not whole:
                reason = TooMuchError(
                    "the answer is filtered, or a limit of the walk was reached: it does not show all"
                )
            else:
                prover = self._prover(query, checkpoints)
                return prover.shown(check_complete(query, nodes, events, checkpoints, prover)), ""
        except TooMuchError as error:
            reason = error
        except CallError as error:
            if error.code not in _NOT_OFFERED:
                raise
            reason = error
        if must:
            raise reason
        return None, str(reason)

    def _prover(self, query: Query, checkpoints: Mapping[str, VerifiedCheckpoint]) -> ServiceProver:
        secret = self._index_secret()
        held = self._trusted.held()

        def opened(message: log_pb2.Checkpoint) -> VerifiedCheckpoint:
            return self._trusted.opened([[message]], held)[message.log]

        return ServiceProver(
            secret,
            checkpoints,
            key=query.key,
            purpose=self._purpose,
            prove=lambda request: self._call(self._stub.ProveComplete, request, self._shown_token()),
            get_records=lambda request: self._call(self._stub.GetRecords, request),
            opened=opened,
        )

    def _shown_token(self) -> tuple[tuple[str, str], ...]:
        return ((TOKEN_METADATA, self._token),) if self._token else ()

    def _index_secret(self) -> bytes:
        """Get the secret, once; that it is the right one is checked against each leaf."""
        if not self._secret:
            request = completeness_pb2.GetIndexSecretRequest()
            self._secret = self._call(self._stub.GetIndexSecret, request, self._shown_token()).secret
        return self._secret
