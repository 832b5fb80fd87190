"""What services keep of users is deleted and shown: a step that is written is in the tables, and every collection has a step or a reason."""

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

from services.doctor.seeing.store import wanted_indexes
from services.erasure.steps import ERASE_STEPS, EXPORT_STEPS
from tools.kubernetes.roles import ALL, ROLES

ROOT = Path(__file__).parents[2]


def written_steps() -> Iterator[tuple[str, str, str]]:
    """Module, name and result of each public function of a module whose arguments are those of a step."""
    for path in sorted((ROOT / "services").rglob("*.py")):
        for each in ast.parse(path.read_text("utf-8")).body:
            if isinstance(each, ast.AsyncFunctionDef) and not each.name.startswith("_"):
                kinds = [ast.unparse(one.annotation) for one in each.args.args if one.annotation]
                if kinds == ["Database", "Known"]:
                    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                    yield module, each.name, ast.unparse(each.returns) if each.returns else ""


def test_every_step_that_a_service_has_is_taken() -> None:
    found = list(written_steps())
    for steps, result in ((ERASE_STEPS, "int"), (EXPORT_STEPS, "AsyncIterator[tuple[str, Any]]")):
        of = [
            getattr(importlib.import_module(module), name) for module, name, each in found if each == result
        ]
        assert set(of) == set(steps.values())
        assert list(steps) == sorted(steps)
        assert {each.__module__.split(".")[1] for each in steps.values()} == {"audit", "query"}
    assert {result for *_, result in found} == {"int", "AsyncIterator[tuple[str, Any]]"}


def test_what_is_erased_is_shown_before() -> None:
    assert set(ERASE_STEPS) | {"vault"} == set(EXPORT_STEPS)


ERASING = "services.sealing.erasure.erasing"
"""Who takes the steps: keys and pseudonyms are its own."""
OF_USERS: dict[str, str] = {
    "accounts": "accounts",
    "asked_users": "looks",
    "browse_index": "looks",
    "epcis_queries": "webhooks",
    "epcis_subscriptions": "webhooks",
    "goods_viewers": "looks",
    "pseudonyms": ERASING,
    "sessions": "accounts",
    "vault_keys": ERASING,
    "watch_activity": "watch",
    "watch_alerts": "watch",
    "watch_blocks": "watch",
}
"""Collections with something of users in them: the step that erases it, or the erasing itself."""
_SEALED = "sealed, and of users encrypted under a key that goes; or positions and hashes of what is sealed"
_MERCHANTS = "by merchant, which is a company: no user's name"
OF_NOBODY: dict[str, str] = {
    **dict.fromkeys(
        ("blocks", "checkpoints", "heads", "index_pages", "index_runs", "logs", "packs", "pages", "pins", "runs", "tiles"),
        _SEALED,
    ),
    **dict.fromkeys(
        ("api_keys", "captures", "delegations", "idempotency_keys", "merchant_numbers", "merchant_rates", "merchants",
         "registrations_under_way"),
        _MERCHANTS,
    ),
    **dict.fromkeys(
        ("capture_verdicts", "flagged_events", "goods", "goods_asking", "goods_renewals", "goods_states", "places", "rejections"),
        "of events, goods and places; personal fields in events have keys of their own, and a step of their own that is no user's",
    ),
    **dict.fromkeys(("browse_statistics", "goods_browses"), "counts, which name nobody"),
    "login_counters": "hashes of names and networks, gone after an hour",
    "capture_calendar": "days and offsets",
    "ingress_partitions": "offsets",
    "instance": "which store this is",
    "operations": "when a store was checked or copied",
    "erasures": "what of an erasure is left to do; it goes with it",
    "tombstones": "the subject's hash, by which a copy that is put back is rid of the user again",
    "vault_days": "keys of days, which go with the day",
    "vault_names": "the key under which subjects are hashed, one for all",
}  # fmt: skip
"""Collections that need no step, and why."""


def used_collections() -> set[str]:
    """Every collection that the services name where they open one of a database, that they make indexes of, or that a process has a right on."""
    found = {name for _, name in wanted_indexes("own", "vault")}
    found |= {name for role in ROLES for _, name, _ in role.privileges() if name != ALL}
    for path in sorted((ROOT / "services").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for each in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(each, ast.Subscript) and ast.unparse(each.value).endswith(("database", "vault")):
                of = each.slice
                told = of.value if isinstance(of, ast.Constant) else None
                if isinstance(of, ast.Name):  # a name that is local comes from one of the others
                    told = getattr(importlib.import_module(module), of.id, None)
                found |= {told} if isinstance(told, str) else set()
    return found


def named_by(module: str) -> set[str]:
    """The texts that a module, and those of which it uses something, have names for."""
    own = vars(importlib.import_module(module)).values()
    near = {getattr(each, "__module__", None) for each in own} & set(sys.modules)
    return {
        text for each in (module, *near) for text in vars(sys.modules[each]).values() if isinstance(text, str)
    }


def test_of_every_collection_it_is_said_who_erases_it_or_why_nobody_need() -> None:
    assert not OF_USERS.keys() & OF_NOBODY.keys()
    used = used_collections()
    assert len(used) > 40
    assert used == OF_USERS.keys() | OF_NOBODY.keys(), (
        "say of a new one what becomes of it when a user is erased"
    )


def test_the_step_of_a_collection_knows_it() -> None:
    for collection, step in OF_USERS.items():
        taken = ERASE_STEPS.get(step)
        assert taken is not None or step == ERASING
        assert collection in named_by(taken.__module__ if taken else ERASING), collection
    assert set(OF_USERS.values()) == {*ERASE_STEPS, ERASING}
