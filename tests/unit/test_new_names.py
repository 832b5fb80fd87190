"""Names of new accounts: none by which records know others than accounts."""

import pytest

from services.query.accounts.new_names import check_reserved
from services.query.accounts.passwords import is_name
from services.runtime.access.authenticator import principal_of_key
from services.runtime.access.settings import OidcSettings
from services.runtime.call_errors import InvalidRequestError


@pytest.mark.parametrize("host", ["id.shop.example", "ID.Shop.example"])
@pytest.mark.parametrize(
    "name", ["operator", "alice@id.shop.example", "@id.shop.example", "a@b@id.shop.example"]
)
def test_names_of_others_are_refused(name: str, host: str) -> None:
    with pytest.raises(InvalidRequestError):
        check_reserved(name, host)


@pytest.mark.parametrize("name", ["operator-7", "alice@shop.example", "alice@evil-id.shop.example", "alice"])
def test_others_are_not(name: str) -> None:
    check_reserved(name, "id.shop.example")
    check_reserved(name, OidcSettings(issuer="").host)


def test_what_records_call_keys_programs_users_and_exports_is_no_name_of_an_account() -> None:
    for name in (principal_of_key("ab", 7).name, "host:ann", "shop/ann"):
        assert not is_name(name)
