"""Monitoring as code: rules, their tests, dashboards and the page of metrics are written by `python -m tools.monitoring`."""
