"""The server-side commands of `goodstrace`, one module each; pyproject.toml names them as entry points."""
