"""Checking all that is stored of logs, and making again what can be made again: what `goodstrace fsck` does.

`faults` what can be wrong; `records`, `keyring`, `verifier` pure; `scan` the store as it lies; `feeding` one log from a store
through a verifier; `repair`, `state`, `jobs` and `store` the shell around it.
"""
