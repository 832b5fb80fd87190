"""Proofs of completeness: that an answer holds all entries of a name, up to what an entry of the log `index` covers.

Pure, no I/O. `rows` has the rows and pages of a run, `leaf` what an entry of the log `index` says, `proof` how a client verifies
which rows a tag has, `merging` which runs become one. docs/completeness.md explains it with a picture.
"""
