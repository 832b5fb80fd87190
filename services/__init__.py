"""The services: processes that meet in Kafka, MongoDB and proto/, never in each other's code."""
