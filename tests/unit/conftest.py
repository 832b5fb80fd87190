"""How hypothesis runs here: no deadline per example, since a busy machine is no fault of the code."""

from hypothesis import settings

settings.register_profile("unit", deadline=None, max_examples=60)
settings.load_profile("unit")
