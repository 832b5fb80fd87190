"""Sealing a Kafka topic into logs in MongoDB, reading them, verifying them; the ledger and the audit are its uses."""
