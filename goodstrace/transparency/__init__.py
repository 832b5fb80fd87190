"""Transparency reports: what was looked at in a month, with the figures that anybody can derive again from the public logs."""
