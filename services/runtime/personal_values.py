"""Keys of what was taken out of goods events, as `collect` makes them and the vault keeps them. Pure."""

import msgspec


class PersonalKey(msgspec.Struct, frozen=True):
    """The key of one record's part `personal`: 32 random bytes that never encrypt anything else."""

    record_id: bytes
    key: bytes
    merchant: int
    event_id: str
    made_ms: int


def personal_subject(record_id: bytes) -> str:
    """Name the subject of a record's personal data."""
    return f"personal:{record_id.hex()}"


def event_subject(merchant: int, event_id: str) -> str:
    """Name what all records of one event have in common."""
    return f"event:{merchant}/{event_id}"
