"""Goodstrace: goods traced level by level, every answer proved."""
