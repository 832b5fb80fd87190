"""Figures of who looked: over windows of time, and of a merchant's goods. Made of what is told of looks, and kept when it is gone."""
