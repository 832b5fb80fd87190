"""What the services share: settings, Kafka, MongoDB, topics, metrics, logs, start and stop."""
