"""The query interface against its own OpenAPI document: what schemathesis makes of it is answered as it says."""

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import status_code_conformance

from tests.unit.collector_builders import object_event
from tests.unit.epcis_builders import SERIALS, Service, sealed

SERVICE = Service(sealed([object_event(epcList=list(SERIALS))]))
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", SERVICE.app)


@SCHEMA.parametrize()
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_description_names(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=[schemathesis.checks.not_a_server_error, status_code_conformance])
