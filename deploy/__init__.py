"""The local stack: Kafka, a document store and the four services on one machine."""
