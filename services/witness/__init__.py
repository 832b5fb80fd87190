"""A witness of our own, which partners of the platform run: it cosigns logs that only ever grow."""
