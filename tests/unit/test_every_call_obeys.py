"""No call of the query service is added without a word on visibility."""

import importlib
import pkgutil
from typing import Final

import goodstrace.query.v1 as package
from goodstrace.query.v1 import login_pb2

OBEYS: Final = {
    "Trace": "test_visible_answers",
    "StreamTrace": "test_visible_streams",
    "Recall": "test_visible_streams",
    "GetEvent": "test_visible_answers",
    "GetGoods": "test_visible_answers",
    "Subscribe": "test_visible_queries",
    "GetRecords": "test_visible_records",
}
"""Calls that show parts of records: they read through `services.query.sight.VisibleLogs`, and these tests search what they send."""
PUBLIC: Final = {"GetRegistrations"}
"""Calls that find nothing but registrations, which all may see."""
SHOWS_NO_PART: Final = {
    "GetCheckpoint",
    "GetInclusionProof",
    "GetConsistencyProof",
    "GetRootProof",
    "GetProofFile",
    "GetKeyChanges",
    "GetIndexSecret",
    "ProveComplete",
}
ABOUT_ACCOUNTS: Final = {
    method.name for service in login_pb2.DESCRIPTOR.services_by_name.values() for method in service.methods
}
"""Calls that read accounts and no logs."""


def test_of_every_call_it_is_known_whether_it_shows_anything() -> None:
    """Whoever adds a call that shows parts lets it read through VisibleLogs, and adds it here with its test."""
    modules = [
        importlib.import_module(f"{package.__name__}.{each.name}")
        for each in pkgutil.iter_modules(package.__path__)
        if each.name.endswith("_pb2")
    ]
    calls = {
        method.name
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert calls == OBEYS.keys() | PUBLIC | SHOWS_NO_PART | ABOUT_ACCOUNTS
