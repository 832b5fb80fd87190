"""Personal data in events: found by a versioned table, taken out of the bytes, kept apart (docs/personal-data.md)."""
