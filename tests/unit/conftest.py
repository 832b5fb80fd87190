"""How hypothesis runs here: no deadline per example, since a busy machine is no fault of the code."""

from hypothesis import settings

from tests.unit.fake_services import client_of, services  # noqa: F401 - fixtures

settings.register_profile("unit", deadline=None, max_examples=60)
settings.load_profile("unit")
