"""The metrics of the audit service's calls; those of sealing, of the index and of the figures are their own."""

from prometheus_client import REGISTRY, CollectorRegistry

from goodstrace.audit.v1 import audit_pb2, watch_pb2
from services.sealing.front import FrontMetrics

SERVICES = (
    audit_pb2.DESCRIPTOR.services_by_name["AuditService"],
    watch_pb2.DESCRIPTOR.services_by_name["WatchService"],
)
"""What it answers over gRPC."""


class AuditMetrics(FrontMetrics):
    """The metrics of showing, for every call that the service answers."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Make them in `registry`."""
        super().__init__(
            "audit", [method.name for service in SERVICES for method in service.methods], registry
        )
