"""The state of goods, read off what events say of them; docs/goods.md says by which rules. Pure: no I/O, no clock.

The collector keeps it for the platform, the query service shows it with the events that it follows from, and a client derives it
again from these events: all three by this code.
"""
