"""Who may not do something is told who they are, and strangers are told what to show."""

import pytest

from services.runtime.access.guard import _not_allowed
from services.runtime.access.values import NOBODY, Means, Principal, Role
from services.runtime.merchants.errors import RoleError, UnauthenticatedError

SHOPPER = Principal(means=Means.TOKEN, name="demo-shopper", roles=frozenset((Role.SHOPPER,)))


@pytest.mark.parametrize(
    ("roles", "who", "said"),
    [
        ((Role.MERCHANT,), SHOPPER, "only the role merchant may do this; you are demo-shopper (shopper)"),
        (
            (Role.OPERATOR, Role.AUDITOR),
            SHOPPER,
            "only the role auditor or operator may do this; you are demo-shopper (shopper)",
        ),
        ((), SHOPPER, "nobody may do this; you are demo-shopper (shopper)"),
        (
            (Role.MERCHANT,),
            Principal(name="new"),
            "only the role merchant may do this; you are new (no role)",
        ),
    ],
)
def test_a_refusal_says_who_may_and_who_asks(roles: tuple[Role, ...], who: Principal, said: str) -> None:
    refused = _not_allowed(frozenset(roles), who)
    assert isinstance(refused, RoleError)
    assert str(refused) == said


def test_a_stranger_is_told_of_no_role() -> None:
    refused = _not_allowed(frozenset((Role.MERCHANT,)), NOBODY)
    assert isinstance(refused, UnauthenticatedError)
    assert "merchant" not in str(refused)
    assert NOBODY.name not in str(refused)
