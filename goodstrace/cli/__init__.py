"""The command `goodstrace`."""

from goodstrace.cli.main import main

__all__ = ["main"]
