"""Traces of what the services do, by OpenTelemetry: off without a collector, and nothing of it is imported then."""
