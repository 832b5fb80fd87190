"""Users of a Kafka that asks who calls, with the rights of tools/kubernetes/acls.py: passwords by SCRAM, ACLs by its authorizer."""

import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tools.kubernetes.acls import PREFIX, RIGHTS, Rights

_RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactionalId": ResourceType.TRANSACTIONAL_ID,
}
_ITERATIONS = 4096
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


def make_users(
    admin: AdminClient, folder: Path, prefix: str, rights: Iterable[Rights] = RIGHTS
) -> dict[str, dict[str, str]]:
    """Make a user for each, and give the variables by which a process is that user."""
    rights = list(rights)
    told = {}
    for each in rights:
        file = folder / f"password-{each.user}"
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(24))
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
        name = f"goodstrace-{each.user}"
        made = UserScramCredentialUpsertion(name, info, file.read_bytes())
        for future in admin.alter_user_scram_credentials([made]).values():
            future.result(30)
        told[each.user] = {"KAFKA_SASL_USERNAME": name, "KAFKA_SASL_PASSWORD_FILE": str(file)}
    bindings = [binding for each in rights for binding in _bindings(each, prefix)]
    for future in admin.create_acls(bindings).values():
        future.result(30)
    return told


def _bindings(rights: Rights, prefix: str) -> list[Any]:
    return [
        AclBinding(
            _RESOURCES[rule.resource],
            rule.name,
            ResourcePatternType.PREFIXED if rule.pattern == PREFIX else ResourcePatternType.LITERAL,
            f"User:goodstrace-{rights.user}",
            "*",
            AclOperation[_CAPITAL.sub("_", operation).upper()],
            AclPermissionType.ALLOW,
        )
        for rule in rights.rules(prefix)
        for operation in rule.operations
    ]
