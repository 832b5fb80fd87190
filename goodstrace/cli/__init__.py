"""The command `goodstrace`."""

import os

os.environ.setdefault(
    "GRPC_VERBOSITY", "NONE"
)  # what gRPC logs of a failed handshake, a command says itself; read as gRPC is imported

from goodstrace.cli.main import main

__all__ = ["main"]
