"""Looking: what each check is told, read from Kafka, the store, services and files. Nothing is written anywhere."""
