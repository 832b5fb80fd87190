"""Every setting of every service, set wrong: the process ends with status 2 and one line that names the variable, and no traceback."""

import importlib
import os
import pkgutil
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum
from typing import Any, Literal, get_args, get_origin

import annotated_types
import pytest
from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

import services
from services.runtime.settings import EXIT_BAD_SETTINGS, load

MODULES = (
    "services.audit.settings",
    "services.audit.watch.settings",
    "services.collector.settings",
    "services.ledger.settings",
    "services.query.settings",
    "services.query.web.settings",
    "services.runtime.access.settings",
    "services.runtime.outgoing",
    "services.runtime.provision",
    "services.runtime.settings",
    "services.runtime.tls",
    "services.runtime.tracing.settings",
    "services.runtime.vault.settings",
    "services.sealing.settings",
    "services.sealing.witness_settings",
)
BASES = ("FrontSettings",)  # without a prefix: what its subclasses are told
FREE = {"endpoint", "policy", "key_passphrase_file", "services", "trusted_proxies"}
"""Text that the class judges by its own code, as the tests of its part show."""


def classes() -> dict[str, type[BaseSettings]]:
    found = {}
    for name in MODULES:
        for each in vars(importlib.import_module(name)).values():
            is_one = isinstance(each, type) and issubclass(each, BaseSettings) and each is not BaseSettings
            if is_one and each.__module__ == name and each.__name__ not in BASES:
                found[each.__name__] = each
    return found


def variable(settings: type[BaseSettings], name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[-1])
    return str(alias or f"{settings.model_config.get('env_prefix', '')}{name.upper()}")


def wrong_values(field: FieldInfo) -> Iterator[str]:
    kinds = [each for each in get_args(field.annotation) if each is not type(None)]
    is_optional = get_origin(field.annotation) in (types.UnionType, typing.Union)
    kind: Any = kinds[0] if is_optional else field.annotation
    is_closed = get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, Enum))
    if kind in (int, float, bool) or is_closed:
        yield "nonsense"
    for limit in field.metadata:
        match limit:
            case annotated_types.Ge(ge):
                yield str(ge - 1)  # type: ignore[operator]
            case annotated_types.Gt(gt):
                yield str(gt)
            case annotated_types.Le(le):
                yield str(le + 1)  # type: ignore[operator]
            case annotated_types.MinLen(least) if least:
                yield "x" * (least - 1)
            case annotated_types.MaxLen(most):
                yield "x" * (most + 1)
            case _ if getattr(limit, "pattern", None):
                yield "not so \x7f!"


def cases() -> Iterator[Any]:
    for settings in classes().values():
        for name, field in settings.model_fields.items():
            for value in wrong_values(field):
                told = variable(settings, name, field)
                yield pytest.param(settings, told, value, id=f"{settings.__name__}-{told}-{value[:16]!r}")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("GOODSTRACE_", "KAFKA_", "MONGODB_", "OTEL_")):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(("settings", "name", "value"), list(cases()))
def test_a_wrong_setting_is_named_in_one_line(
    settings: type[BaseSettings],
    name: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        load(settings)
    assert ended.value.code == EXIT_BAD_SETTINGS
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"setting {name}: ")


def test_the_table_has_every_class_and_every_setting_that_can_be_wrong(tell: Callable[[str], None]) -> None:
    named = {each for module in MODULES for each in [module]}
    for module in pkgutil.walk_packages(services.__path__, "services."):
        if module.name.endswith("settings") and module.name != "services.witness.settings":  # it has options
            assert module.name in named, module.name
    made, judged = classes(), 0
    for settings in made.values():
        for name, field in settings.model_fields.items():
            is_text = field.annotation is str or "Path" in str(field.annotation)
            has_wrong = any(True for _ in wrong_values(field))
            assert has_wrong or is_text or name in FREE or "Secret" in str(field.annotation), (settings, name)
            judged += has_wrong
    tell(
        f"settings: {sum(1 for _ in cases())} wrong values of {judged} settings in {len(made)} classes are each refused by name"
    )


@pytest.mark.parametrize(
    ("together", "names"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, ("KAFKA_SASL_USERNAME",)),
        ({"KAFKA_SSL_CA_FILE": "ca.pem"}, ("KAFKA_SSL", "KAFKA_SECURITY_PROTOCOL")),
        ({"MONGODB_USERNAME": "goodstrace"}, ("MONGODB_PASSWORD_FILE",)),
        ({"GOODSTRACE_TLS_CERT_FILE": "cert.pem"}, ("GOODSTRACE_TLS_KEY_FILE",)),
        (
            {"GOODSTRACE_COLLECTOR_MAX_WAITING_BYTES": "1048576"},
            ("GOODSTRACE_COLLECTOR_MAX_WAITING_BYTES", "GOODSTRACE_COLLECTOR_MAX_BODY_BYTES"),
        ),
        (
            {"GOODSTRACE_COLLECTOR_FIRST_STAGE": "store", "GOODSTRACE_COLLECTOR_LAST_STAGE": "record"},
            ("GOODSTRACE_COLLECTOR_FIRST_STAGE",),
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "nowhere"}, ("OTEL_EXPORTER_OTLP_ENDPOINT",)),
        ({"GOODSTRACE_TRUSTED_PROXIES": "nowhere"}, ("GOODSTRACE_TRUSTED_PROXIES",)),
        ({"GOODSTRACE_QUERY_WEB_SERVICES": "nowhere"}, ("GOODSTRACE_QUERY_WEB_SERVICES",)),
        ({"GOODSTRACE_KEY_PASSPHRASE_FILE": "/nowhere"}, ("GOODSTRACE_KEY_PASSPHRASE_FILE",)),
        ({"GOODSTRACE_KEY_PASSPHRASE": "short"}, ("GOODSTRACE_KEY_PASSPHRASE",)),
    ],
    ids=lambda each: "+".join(each) if isinstance(each, dict) else "",
)
def test_settings_that_do_not_go_together_are_named(
    together: dict[str, str],
    names: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in together.items():
        monkeypatch.setenv(name, value)
    refused = 0
    for settings in classes().values():
        with suppress(SystemExit):
            load(settings)
        for line in capsys.readouterr().err.splitlines():
            refused += 1
            assert all(name in line for name in names), line
    assert refused
