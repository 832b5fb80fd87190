"""Erasing: keys in the vault are destroyed, what is kept beside the logs is deleted, and a sealed record says that it was done."""
