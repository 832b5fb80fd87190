"""What a client tries again by itself: calls that no service answered, because it was just being started again or was gone.

A service that answers is believed: what it says of its neighbours (UNAVAILABLE, 503) is told to the caller, with the time after which to
try again. Only reads are called again by gRPC; a document that is sent again is recognised as a duplicate, event by event.
Source: gRFC A6, client-side retries.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Final

ATTEMPTS: Final = 5
"""As many as gRPC allows."""
FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 2.0
PUSHBACK: Final = "grpc-retry-pushback-ms"
"""Metadata by which a service that answers says that calling again at once is of no use: any negative number."""
READERS: Final = (
    "goodstrace.query.v1.TraceService",
    "goodstrace.query.v1.CompletenessService",
    "goodstrace.audit.v1.AuditService",
    "goodstrace.audit.v1.WatchService",
)
"""Services whose calls change nothing: each attempt that was answered is recorded as a look."""

SERVICE_CONFIG: Final = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": each} for each in READERS],
                "retryPolicy": {
                    "maxAttempts": ATTEMPTS,
                    "initialBackoff": f"{FIRST_WAIT_S:g}s",
                    "maxBackoff": f"{LONGEST_WAIT_S:g}s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)
GRPC_OPTIONS: Final = (("grpc.service_config", SERVICE_CONFIG),)


def waits_s() -> Iterator[float]:
    """Give how long to wait before each further attempt, in seconds: longer each time, and not all callers at the same moment."""
    for attempt in range(ATTEMPTS - 1):
        longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt)
        yield random.uniform(longest / 2, longest)  # noqa: S311 - no secret
