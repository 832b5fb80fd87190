"""Making a month's transparency report from the store."""
