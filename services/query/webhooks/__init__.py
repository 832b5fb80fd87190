"""EPCIS subscriptions delivered as signed webhooks: the way back from the chain to the platform. See docs/subscriptions.md."""
