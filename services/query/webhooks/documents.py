"""Named queries and webhooks as documents of the store: written, and read strictly. Pure.

A document that cannot be read, since it was damaged or a later release wrote it, is told of by its ID, and is in no other one's way.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.query.epcis_problems import DamagedError, QueryProblemError
from services.query.webhooks.asked import NamedQuery, wanted_of
from services.query.webhooks.values import Damaged, Locked, OwnerId, Progress, Sees, Under, Webhook

_UNREADABLE: Final = (KeyError, TypeError, ValueError, RecursionError)  # msgspec's errors are ValueErrors


def owner_row(owner: OwnerId | None) -> dict[str, str]:
    """Give the members that say whose a document is, which find it, too; none for one that is the operators', or for all."""
    return {} if owner is None else {"owner_kind": owner.kind.value, "owner_id": owner.id}


def maker_row(webhook: Webhook) -> dict[str, Any]:
    """Give the member that says who made a webhook, where that is kept."""
    return {"maker": msgspec.to_builtins(webhook.maker)} if webhook.maker else {}


def lock_row(locked: Locked) -> dict[str, Any]:
    """Give the members that hold a secret."""
    return {"locked": locked.data, "locked_under": locked.under.value}


def progress_row(progress: Progress) -> dict[str, Any]:
    """Give the members that hold progress: what is searched for in fields of its own, the rest as JSON, since names of logs are no field names."""
    return {
        "state": progress.state.value,
        "next_ms": progress.next_ms,
        "progress": msgspec.json.encode(progress).decode(),
    }


def document_of(webhook: Webhook) -> dict[str, Any]:
    """Write a webhook, leased by nobody."""
    return {
        "_id": webhook.id,
        "query": webhook.query,
        "definition": msgspec.json.encode(webhook.definition).decode(),
        "dest": webhook.dest,
        **lock_row(webhook.locked),
        "user": webhook.user,
        "owner": webhook.owner,
        **owner_row(webhook.owner_id),
        "sees": webhook.sees.value,
        **maker_row(webhook),
        "created_ms": webhook.created_ms,
        "lease_owner": "",
        "lease_until_ms": 0,
        **progress_row(webhook.progress),
    }


def query_of(document: Mapping[str, Any]) -> NamedQuery:
    """Read a named query. Raises: DamagedError where the document is damaged, or asks for what this release does not know."""
    try:
        members = {"name": document["_id"], "query": msgspec.json.decode(document["query"])}
        query = msgspec.convert(members, NamedQuery)
        wanted_of(query.query, b"")
    except (*_UNREADABLE, QueryProblemError) as error:
        raise DamagedError(_why("query", document, error)) from error
    return query


def query_or_damaged(document: Mapping[str, Any]) -> NamedQuery | Damaged:
    """Read a named query, or say that its document is damaged."""
    try:
        return query_of(document)
    except DamagedError as error:
        name = str(document["_id"])
        return Damaged(name, name, str(error))


def webhook_of(document: Mapping[str, Any]) -> Webhook:
    """Read a webhook; whether what it asks is known is seen when it has its turn. Raises: DamagedError where the document is damaged."""
    try:
        kind = document.get("owner_kind")
        members = {
            "id": document["_id"],
            "query": document["query"],
            "definition": msgspec.json.decode(document["definition"]),
            "dest": document["dest"],
            "locked": _locked(document),
            "user": document["user"],
            "owner": document.get("owner", ""),
            "owner_id": {"kind": kind, "id": document["owner_id"]} if kind else None,
            "sees": document.get("sees", Sees.PUBLIC.value),
            "maker": document.get("maker") or None,
            "created_ms": document["created_ms"],
            "progress": msgspec.json.decode(document["progress"], type=Progress),
        }
        return msgspec.convert(members, Webhook)
    except _UNREADABLE as error:
        raise DamagedError(_why("webhook", document, error)) from error


def webhook_or_damaged(document: Mapping[str, Any]) -> Webhook | Damaged:
    """Read a webhook, or say that its document is damaged."""
    try:
        return webhook_of(document)
    except DamagedError as error:
        return Damaged(str(document["_id"]), str(document.get("query", "")), str(error))


def locked_of(document: Mapping[str, Any]) -> Locked | None:
    """Read a webhook's secret alone; None where it is damaged, and so the webhook is."""
    try:
        return _locked(document)
    except _UNREADABLE:
        return None


def _locked(document: Mapping[str, Any]) -> Locked:
    """Read a secret. An earlier release did not say what it is under, and a member of its own cannot be mistaken for bytes of a nonce."""
    members = {"data": document["locked"], "under": document.get("locked_under", Under.INDEX.value)}
    return msgspec.convert(members, Locked, builtin_types=(bytes,))


def _why(what: str, document: Mapping[str, Any], error: Exception) -> str:
    said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return f"the document of the {what} {document['_id']} is damaged, or of a later release: {said}"
