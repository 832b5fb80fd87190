"""Do the neighbours and the services answer? Pure."""

from collections.abc import Sequence

import msgspec

from services.doctor.values import Finding, failed, ok, warning


class ServiceSeen(msgspec.Struct, frozen=True):
    """What a service says on its port of health: the problems that it names, a line each, or why it did not answer."""

    name: str
    url: str
    problems: str = ""
    away: str = ""


class WitnessSeen(msgspec.Struct, frozen=True):
    """A witness of the policy: why it did not answer, empty where it did."""

    name: str
    url: str
    away: str = ""


def check_services(seen: Sequence[ServiceSeen]) -> list[Finding]:
    """Is each service there and ready?"""
    if not seen:
        return [
            warning(
                "no service is named",
                "name them: --service NAME=http://HOST:PORT of each one's port of metrics and health",
                "docs/doctor.md",
            )
        ]
    return [_service(each) for each in seen]


def _service(seen: ServiceSeen) -> Finding:
    if seen.away:
        return failed(
            f"{seen.name} does not answer at {seen.url}: {seen.away}",
            "start it, or name the right address with --service; restarting is always safe",
            "services.md#servicedown",
        )
    if seen.problems:
        return failed(
            f"{seen.name} is not ready: {'; '.join(seen.problems.splitlines())}",
            "mend what it names; it goes on by itself then",
            "services.md#servicedown",
        )
    return ok(f"{seen.name} is ready")


def check_witnesses(seen: Sequence[WitnessSeen], *, quorum_left: bool) -> list[Finding]:
    """Does each witness answer, and do those that do make the quorum (`quorum_left`)?"""
    if not seen:
        return [
            warning(
                "no witnesses: checkpoints are published as soon as they are signed",
                "have at least one that is not yours, and set GOODSTRACE_WITNESS_POLICY",
                "docs/witnesses.md",
            )
        ]
    found = [_witness(each) for each in seen]
    if not quorum_left:
        found.append(
            failed(
                "the witnesses that answer do not make the quorum: nothing new is published",
                "bring them back; if one is gone for good, change the policy",
                "recovery.md#lost-witness",
            )
        )
    return found


def _witness(seen: WitnessSeen) -> Finding:
    if not seen.away:
        return ok(f"witness {seen.name} answers")
    return warning(
        f"witness {seen.name} does not answer at {seen.url}: {seen.away}",
        "tell who runs it; the quorum stands without it as long as nothing is said here of that",
        "recovery.md#lost-witness",
    )
