"""The audit service: every look is sealed, and who looked can be listed with proofs."""
