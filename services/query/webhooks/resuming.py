"""Resuming a webhook: one that was disabled goes on where it was, and one that sees as its owner goes by what the owner shows now. Pure.

A credential comes to its end (a key is replaced, a person leaves), and what it was for does not: without this the owner would have to make another
webhook, which begins with what is new, so that something is missing, or with everything again.
"""

import msgspec

from services.query.epcis_problems import NotPermittedError
from services.query.webhooks.owners import maker_of, owner_id
from services.query.webhooks.values import DisabledBy, Progress, Sees, State, Webhook
from services.runtime.access.values import Principal


def resumed(webhook: Webhook, who: Principal, user: str) -> Webhook:
    """Give a webhook as it is once somebody who may see and remove it has resumed it.

    Cursor and the message that is under way stay: what was delivered is not sent again, and the rest is.

    Args:
        webhook: as it is kept.
        who: resumes it. One that sees as its owner is as good as what they show from then on.
        user: what records are to call them then.
    Raises: NotPermittedError where it sees as its owner and that is somebody else; ParameterError where what they show could not be judged later.
    """
    going_on = msgspec.structs.replace(webhook, progress=_afresh(webhook.progress))
    if webhook.sees is Sees.PUBLIC:
        return going_on
    if webhook.owner_id != owner_id(who):
        raise NotPermittedError("it sends what its owner may see: that one must resume it")
    return msgspec.structs.replace(going_on, user=user, maker=maker_of(who, webhook.sees))


def _afresh(progress: Progress) -> Progress:
    return msgspec.structs.replace(
        progress,
        state=State.ACTIVE,
        failures=0,
        failing_since_ms=0,
        last_error="",
        next_ms=0,
        disabled_by=DisabledBy.UNKNOWN,
    )
