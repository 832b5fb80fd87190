"""Random names for writers: the adapter behind `writer.SealerParts.new_epoch`."""

import secrets


def random_epoch() -> str:
    """Give 64 random bits in hex: no two writers, of one process or of many, draw the same."""
    return secrets.token_hex(8)
