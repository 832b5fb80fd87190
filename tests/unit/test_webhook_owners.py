"""What a webhook sends is what its owner may see at that time, and no more: by every policy, and whatever changes between attempts."""

import asyncio
import hashlib
import hmac
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.visibility import Visibility, VisibilityPolicy
from services.query.epcis_problems import NotPermittedError, ParameterError
from services.query.forward import Forward
from services.query.webhooks.asked import SEES_FIELD, read_subscription
from services.query.webhooks.owners import maker_of, only_of, owner_id, owner_name
from services.query.webhooks.resuming import resumed
from services.query.webhooks.sender import Outcome
from services.query.webhooks.signing import mark
from services.query.webhooks.values import DisabledBy, OwnerId, OwnerKind, Pending, Progress, Sees, State
from services.runtime.access.lasting import Credential, CredentialKind, Lasting
from services.runtime.access.values import EVERYBODY, NOBODY, AccountStatus, Means, Principal, Role
from services.runtime.merchants.errors import ForbiddenError
from tests.unit.collector_builders import SECRET
from tests.unit.test_visible_answers import POLICIES, may_see
from tests.unit.visible_world import CARRIER, EVENTS, MAKER, PLATFORM, SHOP, STRANGER
from tests.unit.webhook_world import Hooked

ALL = range(1, len(EVENTS) + 1)
PUBLIC, PRIVATE = VisibilityPolicy(Visibility.PUBLIC), VisibilityPolicy(Visibility.PRIVATE)
HIDING = VisibilityPolicy(Visibility.PUBLIC, {"sale": Visibility.PRIVATE})
REFUSED, DELIVERED = Outcome.REFUSED, Outcome.DELIVERED
MARKS_OF_BEFORE = b"goodstrace webhook bodies v1"


def account(hooked: Hooked, name: str, *roles: Role, merchant: int = 0, **more: Any) -> Principal:
    """An account of the world's, as who shows its token is known."""
    made = hooked.world.accounts.add(name, *roles, merchant=merchant, **more)
    return Principal(means=Means.TOKEN, account=made.id, name=name, roles=frozenset(roles), merchant=merchant)


# ---- who gets what


@pytest.mark.parametrize("policies", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("merchant", [MAKER, CARRIER, SHOP, STRANGER, 5, PLATFORM])
@pytest.mark.parametrize("sees", Sees)
@pytest.mark.parametrize("by_key", [True, False], ids=["key", "account"])
def test_each_is_sent_what_the_model_says(
    policies: dict[int, VisibilityPolicy], merchant: int, sees: Sees, by_key: bool
) -> None:
    hooked = Hooked(policies)
    who = hooked.key_of(merchant) if by_key else account(hooked, "bea", Role.MERCHANT, merchant=merchant)
    hooked.subscribe(who, sees)
    hooked.turn()
    viewer = merchant if sees is Sees.OWNER else 0
    wanted = {number for number in ALL if may_see(viewer, policies, number)}
    assert sorted(hooked.delivered) == sorted(wanted), "each once"
    sent = b"".join(body for _, body, _ in hooked.receiver.attempts)
    for number in set(ALL) - wanted:
        assert b"-%012d" % number not in sent
    assert hooked.progress.positions == {"goods/0": 4, "goods/1": 3}, "what is withheld is passed over"
    for browse in hooked.world.browses:
        assert (browse.merchant, browse.role) == ((merchant, "merchant") if viewer else (0, ""))
        assert json.loads(browse.query)["sees"] == sees


@pytest.mark.parametrize("roles", [(Role.PLATFORM,), (Role.AUDITOR, Role.OPERATOR)])
def test_programs_of_the_platform_and_auditors_are_sent_everything(roles: tuple[Role, ...]) -> None:
    hooked = Hooked(dict.fromkeys((MAKER, CARRIER, SHOP), PRIVATE))
    hooked.subscribe(account(hooked, "backend", *roles))
    hooked.turn()
    assert sorted(hooked.delivered) == list(ALL)
    [browse] = hooked.world.browses
    assert (browse.user, browse.merchant) == ("backend", 0)
    assert browse.role == ("platform" if Role.PLATFORM in roles else "auditor")


def test_one_of_an_earlier_release_is_sent_what_is_public() -> None:
    hooked = Hooked(POLICIES["the maker shows what it ships"])
    hooked.subscribe(hooked.key_of(MAKER), Sees.PUBLIC, owner_id=None)
    hooked.turn()
    assert sorted(hooked.delivered) == [2, 3, 6]


# ---- who does not count any more


def refused(hooked: Hooked, state: State, said: str) -> None:
    """See that a turn sends nothing, moves nothing and says why."""
    before, sent = hooked.progress, len(hooked.receiver.attempts)
    hooked.turn()
    assert len(hooked.receiver.attempts) == sent
    assert (hooked.progress.positions, hooked.progress.pending) == (before.positions, before.pending)
    assert hooked.progress.state is state
    assert said in hooked.progress.last_error
    assert hooked.progress.failures == before.failures + 1


def test_a_revoked_key_ends_it() -> None:
    hooked = Hooked({})
    hooked.subscribe(hooked.key_of(MAKER))
    rows, own = hooked.world.registry.rows, hooked.world.key_ids[MAKER]
    rows[own] = msgspec.structs.replace(rows[own], revoked_ms=5)
    refused(hooked, State.DISABLED, "unauthenticated: the API key is unknown or revoked")
    hooked.turn()
    assert not hooked.receiver.attempts
    assert disabled(hooked) == {DisabledBy.UNAUTHENTICATED: 1}


def disabled(hooked: Hooked) -> dict[DisabledBy, float]:
    """Why the metrics say that the webhook is disabled: nothing where it is not."""
    told = {
        reason: hooked.gauge("goodstrace_query_webhooks_disabled", reason=reason) for reason in DisabledBy
    }
    return {reason: count for reason, count in told.items() if count}


def test_the_metrics_say_why_one_is_disabled_until_it_is_resumed() -> None:
    hooked = Hooked({})
    hooked.subscribe(hooked.key_of(MAKER))
    hooked.receiver.answers = [REFUSED]
    hooked.turn()
    assert disabled(hooked) == {}, "it is tried again"
    failing = msgspec.structs.replace(hooked.progress, failing_since_ms=1)
    hooked.store.webhook = msgspec.structs.replace(hooked.store.webhook, progress=failing)
    hooked.receiver.answers = [REFUSED, Outcome.GONE]
    hooked.turn()
    assert disabled(hooked) == {DisabledBy.FAILING: 1}
    resume(hooked, hooked.key_of(MAKER))
    assert disabled(hooked) == {}
    hooked.turn()
    assert disabled(hooked) == {DisabledBy.GONE: 1}
    assert hooked.gauge("goodstrace_query_webhooks", state="disabled") == 1


def test_of_one_that_an_earlier_release_disabled_the_reason_is_unknown() -> None:
    hooked = Hooked({})
    kept = msgspec.json.decode(b'{"positions":{},"state":"disabled","failures":9}', type=Progress)
    hooked.subscribe(hooked.key_of(MAKER), progress=kept)
    assert disabled(hooked) == {DisabledBy.UNKNOWN: 1}


def resume(hooked: Hooked, who: Principal, user: str = "") -> None:
    """Resume the webhook, as the API does."""
    hooked.store.webhook = resumed(hooked.store.webhook, who, user or who.name)


def test_who_shows_a_new_key_goes_on_where_the_old_one_ended() -> None:
    hooked = Hooked({}, copies=2)
    hooked.subscribe(hooked.key_of(MAKER))
    hooked.worker._message_bytes = 1
    hooked.receiver.answers = [DELIVERED, DELIVERED, REFUSED]
    hooked.turn()
    rows, own = hooked.world.registry.rows, hooked.world.key_ids[MAKER]
    rows[own] = msgspec.structs.replace(rows[own], revoked_ms=5)
    refused(hooked, State.DISABLED, "revoked")
    before = hooked.progress
    hooked.new_key(MAKER)
    resume(hooked, hooked.key_of(MAKER))
    assert hooked.progress.state is State.ACTIVE
    assert (hooked.progress.failures, hooked.progress.last_error, hooked.progress.next_ms) == (0, "", 0)
    assert (hooked.progress.positions, hooked.progress.pending) == (before.positions, before.pending)
    hooked.turn()
    assert sorted(hooked.delivered) == sorted(2 * [1, 2, 3, 5]), "each once: nothing again, nothing missing"
    names = [name for name, _, _ in hooked.receiver.attempts]
    assert names[2] == names[3], "what waited is the same message"
    assert len(set(names)) == len(names) - 1
    assert hooked.progress.positions == {"goods/0": 7, "goods/1": 7}


def test_a_person_of_the_same_merchant_takes_over_and_is_named_by_the_looks() -> None:
    hooked = Hooked({})
    ann = account(hooked, "ann", Role.MERCHANT, merchant=MAKER)
    hooked.subscribe(ann, maker=None)
    refused(hooked, State.DISABLED, "erased")
    bea = account(hooked, "bea", Role.MERCHANT, merchant=MAKER)
    resume(hooked, bea)
    hooked.turn()
    assert sorted(hooked.delivered) == [1, 2, 3, 5]
    assert {(each.user, each.merchant) for each in hooked.world.browses} == {("bea", MAKER)}
    del hooked.world.accounts.accounts[ann.account]
    hooked.turn()
    assert hooked.progress.state is State.ACTIVE, "it is as good as what bea shows"


def test_nobody_takes_over_what_is_anothers_or_with_what_cannot_be_judged() -> None:
    hooked = Hooked({})
    hooked.subscribe(hooked.key_of(MAKER))
    before = hooked.store.webhook
    backend = account(hooked, "backend", Role.PLATFORM, Role.OPERATOR)
    operator = Principal(means=Means.OPERATOR_TOKEN, name="operator", roles=frozenset({Role.OPERATOR}))
    same_name = account(hooked, f"merchant:{MAKER}", Role.PLATFORM)
    for other in (hooked.key_of(SHOP), backend, operator, same_name, EVERYBODY):
        with pytest.raises(NotPermittedError):
            resume(hooked, other)
    ida = Principal(
        means=Means.OIDC,
        name="ida@idp.example",
        roles=frozenset({Role.MERCHANT}),
        merchant=MAKER,
        credential_id="u-1@idp.example",
    )
    with pytest.raises(ParameterError, match="cannot be judged again"):
        resume(hooked, ida)
    assert hooked.store.webhook == before


def test_one_that_sends_what_is_public_goes_on_as_it_was_whoever_resumes_it() -> None:
    hooked = Hooked(POLICIES["the maker shows what it ships"])
    hooked.subscribe(hooked.key_of(MAKER), Sees.PUBLIC)
    hooked.receiver.answers = [Outcome.GONE]
    hooked.turn()
    assert hooked.progress.state is State.DISABLED
    before = hooked.store.webhook
    operator = Principal(means=Means.OPERATOR_TOKEN, name="operator", roles=frozenset({Role.OPERATOR}))
    resume(hooked, operator)
    assert msgspec.structs.replace(hooked.store.webhook, progress=before.progress) == before
    hooked.turn()
    assert sorted(hooked.delivered) == [2, 3, 6]
    assert len({(name, body) for name, body, _ in hooked.receiver.attempts}) == 1


def test_a_suspended_merchants_waits_and_then_misses_nothing() -> None:
    hooked = Hooked({})
    hooked.subscribe(hooked.key_of(MAKER))
    hooked.world.suspend(MAKER)
    refused(hooked, State.ACTIVE, "forbidden: the merchant is suspended")
    assert hooked.gauge("goodstrace_query_webhooks_failing") == 1, (
        "somebody is told, as of a receiver that fails"
    )
    hooked.policy(MAKER, VisibilityPolicy())
    hooked.turn()
    assert sorted(hooked.delivered) == [1, 2, 3, 5]
    assert (hooked.progress.failures, hooked.progress.last_error) == (0, "")


def test_a_suspended_merchant_ends_also_what_a_program_sees_for_it() -> None:
    hooked = Hooked({})
    hooked.subscribe(account(hooked, "erp", Role.MERCHANT, Role.PLATFORM, merchant=MAKER))
    hooked.world.suspend(MAKER)
    refused(hooked, State.ACTIVE, "suspended")


@pytest.mark.parametrize(
    ("change", "state", "said"),
    [
        ({"status": AccountStatus.DISABLED}, State.DISABLED, "not there, or disabled"),
        ({"roles": (Role.SHOPPER,)}, State.ACTIVE, "acts for somebody else"),
        ({"roles": ()}, State.ACTIVE, "acts for somebody else"),
        ({"merchant": SHOP}, State.ACTIVE, "acts for somebody else"),
    ],
)
def test_an_account_that_is_not_what_it_was_is_sent_nothing(
    change: dict[str, Any], state: State, said: str
) -> None:
    hooked = Hooked(dict.fromkeys((MAKER, CARRIER, SHOP), PUBLIC))
    who = account(hooked, "bea", Role.MERCHANT, merchant=MAKER)
    hooked.subscribe(who)
    known = hooked.world.accounts.accounts
    before = known[who.account]
    known[who.account] = msgspec.structs.replace(before, **change)
    refused(hooked, state, said)
    if state is State.ACTIVE:
        known[who.account] = before
        hooked.turn()
        assert sorted(hooked.delivered) == list(ALL)


@pytest.mark.parametrize("roles", [(Role.SHOPPER,), (Role.OPERATOR,), (Role.AUDITOR,), ()])
def test_a_program_without_its_role_never_goes_on_as_everybody(roles: tuple[Role, ...]) -> None:
    hooked = Hooked(dict.fromkeys((MAKER, CARRIER, SHOP), PUBLIC))
    who = account(hooked, "backend", Role.PLATFORM)
    hooked.subscribe(who)
    hooked.world.accounts.add("backend", *roles)
    refused(hooked, State.ACTIVE, "no role any more")


def test_an_account_of_the_same_name_later_is_another() -> None:
    hooked = Hooked({})
    who = account(hooked, "bea", Role.MERCHANT, merchant=MAKER)
    hooked.subscribe(who)
    old = hooked.world.accounts.accounts.pop(who.account)
    hooked.world.accounts.accounts["f" * 32] = msgspec.structs.replace(old, id="f" * 32)
    refused(hooked, State.DISABLED, "not there, or disabled")
    later = Principal(means=Means.TOKEN, account="f" * 32, name="shop", roles=frozenset({Role.PLATFORM}))
    first = msgspec.structs.replace(later, account="e" * 32)
    assert owner_name(first) == owner_name(later)
    assert only_of(first) != only_of(later)


def test_one_whose_maker_was_erased_is_disabled() -> None:
    hooked = Hooked({})
    hooked.subscribe(hooked.key_of(MAKER), maker=None)
    refused(hooked, State.DISABLED, "erased")


async def test_where_accounts_are_off_nobody_is_somebody() -> None:
    hooked_accounts: Any = None
    with pytest.raises(ForbiddenError):
        await Lasting(None, hooked_accounts).principal(Credential(CredentialKind.API_KEY, "00"))


# ---- a store that does not answer


@pytest.mark.parametrize("away", ["registry", "accounts"])
@pytest.mark.parametrize("under_way", [False, True])
def test_where_it_cannot_be_told_who_may_see_nothing_is_sent_and_nothing_moves(
    away: str, under_way: bool
) -> None:
    hooked = Hooked({})
    hooked.subscribe(account(hooked, "bea", Role.MERCHANT, merchant=MAKER))
    if under_way:
        hooked.receiver.answers = [REFUSED]
        hooked.turn()
    before, sent = hooked.progress, len(hooked.receiver.attempts)
    store: Any = getattr(hooked.world, away)
    store.away = True
    for _ in range(2):
        hooked.turn()
        assert hooked.progress == before
    store.away = False
    hooked.turn()
    assert sorted(hooked.delivered) == [1, 2, 3, 5]
    assert len({name for name, _, _ in hooked.receiver.attempts}) == 1
    assert len(hooked.receiver.attempts) == sent + 1


# ---- what changes between attempts


def test_a_message_stays_the_same_also_where_more_may_be_seen_meanwhile() -> None:
    hooked = Hooked({SHOP: HIDING})
    hooked.subscribe(hooked.key_of(STRANGER))
    hooked.receiver.answers = [REFUSED, REFUSED]
    hooked.turn()
    hooked.policy(MAKER, PUBLIC)
    hooked.policy(SHOP, PUBLIC)
    hooked.turn()
    hooked.turn()
    assert len({(name, body) for name, body, _ in hooked.receiver.attempts}) == 1
    assert hooked.delivered == [6]
    assert hooked.progress.positions == {"goods/0": 4, "goods/1": 3}


def test_what_may_not_be_seen_any_more_never_leaves_again() -> None:
    hooked = Hooked(dict.fromkeys((MAKER, CARRIER, SHOP), PUBLIC))
    hooked.subscribe(hooked.key_of(STRANGER))
    hooked.receiver.answers = [REFUSED, REFUSED, REFUSED]
    hooked.turn()
    hooked.policy(SHOP, HIDING)
    hooked.turn()
    hooked.turn()
    hooked.policy(MAKER, PRIVATE)
    hooked.turn()
    sent = [(name, sorted(hooked.numbers(body))) for name, body, _ in hooked.receiver.attempts]
    names = [name for name, _ in sent]
    assert [numbers for _, numbers in sent] == [
        [1, 2, 3, 4, 5, 6, 7],
        [1, 2, 3, 4, 5, 6],
        [1, 2, 3, 4, 5, 6],
        [4, 5, 6],
    ]
    assert names[1] == names[2]
    assert len({*names}) == 3, "other bytes are another message"
    assert sorted(hooked.delivered) == [4, 5, 6]


def test_where_nothing_is_left_of_a_message_the_cursor_moves_on() -> None:
    hooked = Hooked(dict.fromkeys((MAKER, CARRIER, SHOP), PUBLIC))
    hooked.subscribe(hooked.key_of(STRANGER))
    hooked.receiver.answers = [REFUSED]
    hooked.turn()
    for merchant in (MAKER, CARRIER, SHOP):
        hooked.policy(merchant, PRIVATE)
    hooked.turn()
    assert (len(hooked.receiver.attempts), hooked.progress.pending) == (1, None)
    assert hooked.progress.positions == {"goods/0": 4, "goods/1": 3}


def test_an_event_that_was_erased_meanwhile_is_not_sent_under_the_same_id() -> None:
    hooked = Hooked({SHOP: PUBLIC}, definition={"EQ_bizStep": ["retail_selling", "unpacking"]})
    hooked.subscribe(hooked.key_of(STRANGER))
    hooked.receiver.answers = [REFUSED]
    hooked.turn()
    hooked.world.logs.records_of["goods/0"][3] = msgspec.structs.replace(
        hooked.world.logs.records_of["goods/0"][3], parts=()
    )
    hooked.worker._forward = Forward(hooked.world.logs)  # type: ignore[arg-type]
    hooked.turn()
    (first, whole, _), (second, rest, _) = hooked.receiver.attempts
    assert sorted(hooked.numbers(whole)) == [6, 7]
    assert hooked.numbers(rest) == [6]
    assert first != second


def test_what_is_kept_of_a_message_does_not_tell_who_has_the_index_secret_what_was_erased() -> None:
    """Everything but the salts of the events is known to who guesses: secrets of the installation, the true content, the code."""
    hooked = Hooked({SHOP: PUBLIC}, definition={"EQ_bizStep": ["retail_selling"]})
    hooked.subscribe(hooked.key_of(STRANGER))
    hooked.receiver.answers = [REFUSED]
    hooked.turn()
    [(_, body, _)] = hooked.receiver.attempts
    pending = hooked.progress.pending
    assert pending is not None
    record = hooked.world.logs.records_of["goods/0"][3]
    salts = {part.name: part.salt for part in record.parts}
    assert pending.body_mark == mark([salts["event"]], body)
    public = [b"", record.entry, *record.tags, SECRET, hmac.digest(SECRET, MARKS_OF_BEFORE, "sha256")]
    tried = {hmac.digest(key, body, "sha256").hex() for key in public}
    tried |= {mark(some, body) for some in ([], [bytes(32)], [SECRET], [salts["facts"]])}
    assert pending.body_mark not in tried | {hashlib.sha256(body).hexdigest()}


def test_a_message_that_an_earlier_release_has_begun_keeps_its_id() -> None:
    hooked = Hooked({SHOP: PUBLIC})
    begun = Progress({}, Pending("msg_old", {"goods/0": 4, "goods/1": 3}, 1_700_000_000_000), failures=1)
    hooked.subscribe(hooked.key_of(STRANGER), Sees.PUBLIC, owner_id=None, progress=begun)
    hooked.receiver.answers = [REFUSED]
    hooked.turn()
    hooked.turn()
    assert {name for name, _, _ in hooked.receiver.attempts} == {"msg_old"}
    assert len({body for _, body, _ in hooked.receiver.attempts}) == 1
    assert json.loads(hooked.receiver.attempts[0][1])["creationDate"] == "2023-11-14T22:13:20.000Z"
    assert sorted(hooked.delivered) == [6, 7]


_CHANGES = st.tuples(st.sampled_from([MAKER, CARRIER, SHOP]), st.sampled_from(list(Visibility)))


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([MAKER, SHOP, STRANGER, PLATFORM]),
    st.lists(st.one_of(_CHANGES, st.sampled_from([REFUSED, DELIVERED, "away"])), max_size=12),
    st.sampled_from([1, 2500, 10**6]),
)
def test_whatever_happens_only_what_may_be_seen_then_is_sent_and_an_id_is_one_message(
    viewer: int, steps: list[Any], most_bytes: int
) -> None:
    policies: dict[int, VisibilityPolicy] = {}
    hooked = Hooked(policies, copies=2)
    hooked.subscribe(hooked.key_of(viewer))
    hooked.worker._message_bytes = most_bytes
    for step in [*steps, DELIVERED]:
        if isinstance(step, tuple):
            policies[step[0]] = VisibilityPolicy(step[1])
            hooked.policy(step[0], policies[step[0]])
            continue
        hooked.world.registry.away = step == "away"
        hooked.receiver.answers = [REFUSED] * 20 if step is REFUSED else []
        sent = len(hooked.receiver.attempts)
        hooked.turn()
        hooked.world.registry.away = False
        for _, body, _ in hooked.receiver.attempts[sent:]:
            assert all(may_see(viewer, policies, number) for number in hooked.numbers(body))
            assert step != "away"
    bodies: dict[str, set[bytes]] = {}
    for name, body, _ in hooked.receiver.attempts:
        bodies.setdefault(name, set()).add(body)
    assert all(len(each) == 1 for each in bodies.values())
    taken = [body for _, body, outcome in hooked.receiver.attempts if outcome is DELIVERED]
    places = [
        (each["goodstrace:log"], each["goodstrace:index"])
        for body in taken
        for each in (
            event["goodstrace:sealed"]
            for event in json.loads(body)["epcisBody"]["queryResults"]["resultsBody"]["eventList"]
        )
    ]
    assert len(places) == len(set(places)), "what was taken is not sent again"
    assert hooked.progress.positions == {"goods/0": 7, "goods/1": 7}


# ---- whose it is, and who may ask for what


def test_whose_it_is_goes_by_kind_and_id() -> None:
    key = Principal(
        means=Means.API_KEY,
        name="merchant:7",
        roles=frozenset({Role.MERCHANT}),
        merchant=7,
        credential_id="0123456789abcdef",
    )
    bea = Principal(means=Means.TOKEN, account="aa", name="bea", roles=frozenset({Role.MERCHANT}), merchant=7)
    shop = Principal(means=Means.CERTIFICATE, account="bb", name="shop", roles=frozenset({Role.PLATFORM}))
    operator = Principal(means=Means.OPERATOR_TOKEN, name="operator", roles=frozenset({Role.OPERATOR}))
    ida = Principal(
        means=Means.OIDC,
        name="ida@idp.example",
        roles=frozenset({Role.PLATFORM}),
        credential_id="u-1@idp.example",
    )
    assert owner_id(key) == owner_id(bea) == OwnerId(OwnerKind.MERCHANT, "7")
    assert owner_id(shop) == OwnerId(OwnerKind.ACCOUNT, "bb")
    assert owner_id(operator) == OwnerId(OwnerKind.OPERATOR)
    assert owner_id(ida) == OwnerId(OwnerKind.PROVIDER, "u-1@idp.example")
    assert owner_id(ida) != owner_id(msgspec.structs.replace(ida, credential_id="u-2@idp.example"))
    assert only_of(operator) is None
    assert only_of(EVERYBODY) is None
    assert maker_of(key, Sees.OWNER) == Credential(CredentialKind.API_KEY, "0123456789abcdef")
    assert maker_of(bea, Sees.OWNER) == Credential(CredentialKind.ACCOUNT, "aa")
    assert maker_of(shop, Sees.OWNER) == Credential(CredentialKind.ACCOUNT, "bb")
    assert maker_of(key, Sees.PUBLIC) is None
    shopper = Principal(means=Means.TOKEN, account="cc", name="cy", roles=frozenset({Role.SHOPPER}))
    for who in (operator, msgspec.structs.replace(shop, roles=frozenset({Role.OPERATOR})), shopper, NOBODY):
        assert maker_of(who, Sees.PUBLIC) is None
        with pytest.raises(ParameterError, match="everybody sees"):
            maker_of(who, Sees.OWNER)
    for who in (ida, EVERYBODY):
        with pytest.raises(ParameterError, match="cannot be judged again"):
            maker_of(who, Sees.OWNER)


def test_a_token_without_a_subject_has_nothing_and_makes_something_as_an_operators_only() -> None:
    shown = Principal(means=Means.OIDC, name="ida@idp.example", roles=frozenset({Role.PLATFORM}))
    for ask in (owner_id, owner_name):
        with pytest.raises(NotPermittedError, match="sub"):
            ask(shown)
    nobodys = only_of(shown)
    assert nobodys is not None
    named = [msgspec.structs.replace(shown, credential_id=f"{sub}@idp.example") for sub in ("", "u-1")]
    assert nobodys not in [owner_id(each) for each in named]
    operator = msgspec.structs.replace(shown, roles=frozenset({Role.PLATFORM, Role.OPERATOR}))
    assert only_of(operator) is None
    assert (owner_id(operator), owner_name(operator)) == (OwnerId(OwnerKind.OPERATOR), "operator")
    merchants = msgspec.structs.replace(shown, roles=frozenset({Role.MERCHANT}), merchant=7)
    assert owner_id(merchants) == only_of(merchants) == OwnerId(OwnerKind.MERCHANT, "7")


def test_what_is_sent_is_asked_for_by_one_of_two_words() -> None:
    assert read_subscription(b'{"dest": "https://a.example/"}').sees is Sees.PUBLIC
    for sees in Sees:
        body = json.dumps({"dest": "https://a.example/", SEES_FIELD: sees})
        assert read_subscription(body.encode()).sees is sees
    for wrong in ("", "everything", None, 1, ["owner"], {"owner": 1}, True):
        with pytest.raises(ParameterError) as raised:
            read_subscription(json.dumps({"dest": "https://a.example/", SEES_FIELD: wrong}).encode())
        assert raised.value.field == SEES_FIELD


def test_the_key_of_an_api_key_is_no_secret_and_is_judged_alone() -> None:
    hooked = Hooked({})
    who = hooked.key_of(MAKER)
    assert who.credential_id == hooked.world.key_ids[MAKER]
    judged = asyncio.run(
        Lasting(hooked.world.directory, hooked.world.accounts).principal(
            Credential(CredentialKind.API_KEY, who.credential_id)
        )
    )
    assert judged == who
