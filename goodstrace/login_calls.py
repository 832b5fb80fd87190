"""What clients of the query service's login have in common: a channel that shows secrets to nobody else, and one way to call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import grpc

from goodstrace.call_failures import call_error
from goodstrace.closing import Closing
from goodstrace.connections import channel

TIMEOUT_S: Final = 15.0
_Answer = TypeVar("_Answer")
ChannelFactory = Callable[[str], grpc.Channel]
secret_channel: Final[ChannelFactory] = partial(channel, credential=True)
"""Never in clear text to another machine."""


class LoginCalls(Closing):
    """Calls over one channel; a context manager that closes it."""

    def __init__(self, channel: grpc.Channel) -> None:
        """Call over `channel`, and close it in the end."""
        self._channel = channel

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _call(self, method: Callable[..., _Answer], request: Any) -> _Answer:
        try:
            return method(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise call_error(error) from error
