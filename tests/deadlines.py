"""How long tests wait for what must happen.

Waiting long costs nothing where it happens, and on a machine that does much else a service takes a minute for what it
does in a second. A test that says how fast something is says so with a figure of its own, and why.
"""

DEADLINE_S = 180.0
"""What must happen happens within this time, in seconds: less than pytest's own limit of a test."""

DEADLINE_MS = DEADLINE_S * 1000
"""The same in milliseconds, as a browser is told."""
