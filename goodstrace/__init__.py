"""Goodstrace: goods traced level by level, every answer proved.

`Client` and `LogKeys` are all that most programs need; see `goodstrace.client`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from goodstrace.client import Client
    from goodstrace.log_keys import LogKeys

__all__ = ["Client", "LogKeys"]


def __getattr__(name: str) -> Any:
    """Import the client only where it is asked for: the pure modules below need no gRPC."""
    if name == "Client":
        from goodstrace.client import Client  # noqa: PLC0415 - see above

        return Client
    if name == "LogKeys":
        from goodstrace.log_keys import LogKeys  # noqa: PLC0415 - see above

        return LogKeys
    raise AttributeError(f"module 'goodstrace' has no attribute {name!r}")
