"""The local stack: Kafka, a document store and the services on one machine."""
