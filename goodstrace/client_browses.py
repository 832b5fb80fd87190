"""The call of the client that lists look-ups."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from goodstrace.audit.v1 import audit_pb2, audit_pb2_grpc
from goodstrace.browse_records import OUTCOMES, Browses, check_browses, outcomes_in
from goodstrace.identifiers import canonical_key
from goodstrace.receipts import receipts_in
from goodstrace.trusted_checkpoints import TrustedCheckpoints, once_more
from goodstrace.verification import verify_entry


class BrowseCalls(ABC):
    """What `Client` has of this call; see there."""

    _audit_channel: grpc.Channel | None
    _purpose: str
    _trusted: TrustedCheckpoints

    @abstractmethod
    def _pages(self, request: Any, method: Callable[..., Any]) -> Iterator[Any]: ...

    @once_more
    def browses(
        self,
        *,
        key: str = "",
        user: str = "",
        limit: int = 100,
        merchant: int = 0,
        start_ms: int = 0,
        end_ms: int = 0,
        outcome: str = "",
    ) -> Browses:
        """List look-ups that meet all that is given, newest first, verified.

        Args:
            key: which name this key, in any spelling.
            user: by this user.
            limit: how many at the most.
            merchant: by those who act for this merchant.
            start_ms: from this record time on, Unix milliseconds.
            end_ms: before this record time; 0 for all.
            outcome: answered, failed, withheld or unknown, as the service says; empty for any.
        Raises: ValueError unless one of key, user, merchant and start_ms is given and the client has an `audit_target`.
        """
        if not (key or user or merchant or start_ms) or self._audit_channel is None:
            raise ValueError("browses wants a key, user, merchant or time, and a client with an audit_target")
        list_browses = audit_pb2_grpc.AuditServiceStub(self._audit_channel).ListBrowses
        request = audit_pb2.ListBrowsesRequest(
            key=key,
            user=user,
            page_size=min(limit, 1000),
            purpose=self._purpose,
            merchant=merchant,
            start_ms=start_ms,
            end_ms=end_ms,
            outcome=OUTCOMES[outcome],
        )
        pages: list[audit_pb2.ListBrowsesResponse] = []
        shown, held = 0, self._trusted.held()
        for page in self._pages(request, list_browses):
            pages.append(page)
            shown += len(page.browses)
            if shown >= limit:
                break
        checkpoints = self._trusted.opened([page.checkpoints for page in pages], held)
        browses = [verify_entry(sealed, checkpoints) for page in pages for sealed in page.browses]
        check_browses(
            browses,
            canonical_key(key) if key else "",
            user,
            merchant=merchant,
            start_ms=start_ms,
            end_ms=end_ms,
        )
        return Browses(
            tuple(browses[:limit]),
            checkpoints,
            tuple(page.browse_id for page in pages),
            receipts_in(pages),
            outcomes_in(pages)[:limit],
        )
