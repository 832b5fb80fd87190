"""The ledger: seals what the collector stored, `goods.stored` into the logs `goods/<partition>`."""
