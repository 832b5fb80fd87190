"""The tracing rules, a test or more each, in the order of docs/tracing.md."""

import dataclasses
from typing import Any

import msgspec
import pytest

from goodstrace.facts import Typed
from goodstrace.tracing import Direction, Lookup, Query, SealedFacts, drive, trace
from tests.unit.tracing_builders import Chain, Source, history, ids, key_of, levels, marks, node

UP, DOWN, BOTH, HISTORY = Direction.UPSTREAM, Direction.DOWNSTREAM, Direction.BOTH, Direction.HISTORY


@pytest.fixture
def chain() -> Chain:
    return Chain()


class TestRule1Order:
    def test_by_event_time_then_delete_first_then_record_time(self, chain: Chain) -> None:
        chain.see(5, "item", id="later")
        chain.pack(3, "b", "item", id="add")
        chain.unpack(3, "a", "item", id="delete")
        chain.see(3, "item", id="recorded last")
        chain.see(1, "item", id="first")
        assert ids(chain.trace("item")) == ["first", "delete", "add", "recorded last", "later"]

    def test_moved_at_the_same_time_is_not_in_both(self, chain: Chain) -> None:
        chain.pack(1, "case", "item")
        chain.pack(5, "truck", "case", id="case leaves")
        chain.unpack(5, "case", "item")
        assert "case leaves" not in history(chain.trace("item"), "item")


class TestRule2Identity:
    def test_same_identity_shows_once_with_all_positions(self, chain: Chain) -> None:
        first = chain.see(1, "item")
        chain.seal(first.facts)
        (event,) = chain.trace("item").events
        assert event.positions == (("goods/0", 0), ("goods/0", 1))

    def test_one_id_with_other_content_shows_both_marked(self, chain: Chain) -> None:
        chain.see(1, "item", id="same")
        chain.see(2, "other", id="same")
        answer = chain.trace("item")
        assert ids(answer) == ["same", "same"]
        assert [event.marks for event in answer.events] == [("conflicting-id",)] * 2
        assert [len(event.mentions) for event in answer.events] == [1, 0]

    def test_another_merchant_attests_the_same_content(self, chain: Chain) -> None:
        first = chain.see(1, "item", id="same")
        chain.seal(first.facts, merchant=2)
        answer = chain.trace("item")
        assert len(answer.events) == 2
        assert not marks(answer)


class TestRule3Corrections:
    def test_corrected_event_and_its_correction_stay_but_link_nothing(self, chain: Chain) -> None:
        wrong = chain.make(2, ["flour"], ["bread"], id="wrong")
        chain.correct(wrong)
        answer = chain.trace("bread", UP)
        assert levels(answer, UP) == {}
        assert ids(answer) == ["wrong", "wrong"]
        assert [event.marks for event in answer.events] == [("corrected",), ("correction",)]

    def test_another_merchant_corrects_nothing(self, chain: Chain) -> None:
        wrong = chain.make(2, ["flour"], ["bread"])
        chain.correct(wrong, merchant=2)
        assert levels(chain.trace("bread", UP), UP) == {"flour": 1}

    def test_event_without_id_is_corrected_by_its_hash(self, chain: Chain) -> None:
        wrong = chain.make(2, ["flour"], ["bread"], id=None)
        chain.correct(wrong, event_id="urn:uuid:of-the-declaration")
        assert levels(chain.trace("bread", UP), UP) == {}

    def test_equal_hash_does_not_correct_an_event_with_an_id(self, chain: Chain) -> None:
        right = chain.make(2, ["flour"], ["bread"], id="right")
        chain.correct(right, event_id=right.facts.event_hash)
        assert levels(chain.trace("bread", UP), UP) == {"flour": 1}

    def test_correction_that_names_other_goods_is_found_by_id(self, chain: Chain) -> None:
        wrong = chain.make(2, ["flour"], ["bread"], id="wrong")
        chain.correct(wrong, keys={"epc": ("elsewhere",)}, event_hash="ni:///other")
        assert levels(chain.trace("bread", UP), UP) == {}

    def test_of_two_contents_under_one_id_the_equal_one_is_corrected(self, chain: Chain) -> None:
        wrong = chain.make(2, ["flour"], ["bread"], id="same")
        chain.make(3, ["rye"], ["bread"], id="same")
        chain.correct(wrong)
        assert levels(chain.trace("bread", UP), UP) == {"rye": 1}

    def test_corrected_delete_ends_no_interval(self, chain: Chain) -> None:
        chain.pack(1, "case", "item")
        chain.correct(chain.unpack(2, "case", id="wrong"))
        chain.see(3, "case", id="shipped")
        assert "shipped" in history(chain.trace("item"), "item")


class TestRule3Delegates:
    """Merchant 1's goods, corrected by merchant 2."""

    def seen(self, chain: Chain) -> bool:
        return levels(chain.trace("bread", UP), UP) == {"flour": 1}

    def test_a_delegate_corrects_and_the_registration_is_in_the_answer(self, chain: Chain) -> None:
        told = chain.lend(2, "bread", "flour", uris=["bread", "flour"])
        chain.correct(chain.make(2, ["flour"], ["bread"], id="wrong"), merchant=2)
        answer = chain.trace("bread", UP)
        assert levels(answer, UP) == {}
        assert [event.registration for event in answer.events if event.registration] == [told.registration]

    @pytest.mark.parametrize(
        "how",
        [
            {"until_ms": 1001},
            {"status": "suspended"},
            {"uris": ["flour"]},
            {"merchant": 3},
            {"prefixes": 7},
        ],
        ids=str,
    )
    def test_not_once_it_is_over_or_was_not_the_givers_to_give(
        self, chain: Chain, how: dict[str, Any]
    ) -> None:
        chain.lend(2, "bread", **{"uris": ["bread", "flour"], **how})
        chain.correct(chain.make(2, ["flour"], ["bread"]), merchant=2)
        assert self.seen(chain)

    def test_goods_of_others_in_the_event_do_not_matter(self, chain: Chain) -> None:
        chain.lend(2, "bread", uris=["bread"])
        chain.correct(chain.make(2, ["flour"], ["bread"]), merchant=2)
        assert not self.seen(chain)

    def test_a_delegation_that_came_or_went_after_the_correction_changes_nothing(self, chain: Chain) -> None:
        chain.lend(2, "bread", uris=["bread"])
        chain.correct(chain.make(2, ["flour"], ["bread"]), merchant=2)
        chain.lend(3, "bread", uris=["bread"])
        assert not self.seen(chain)
        chain.correct(chain.make(3, ["flour"], ["bread"]), merchant=2)
        chain.lend(2, "bread", uris=["bread"])
        assert self.seen(chain)

    def test_a_correction_of_its_own_event_speaks_for_nobody_else(self, chain: Chain) -> None:
        chain.lend(2, "bread", uris=["bread"])
        mine = chain.make(2, ["flour"], ["bread"], id="same")
        chain.seal(mine.facts, merchant=2)
        chain.correct(mine, merchant=2)
        assert self.seen(chain)
        assert "corrected" in marks(chain.trace("bread"))["same"]


class TestRule4Containment:
    def test_from_add_to_delete_with_both(self, chain: Chain) -> None:
        chain.see(1, "case", id="before")
        chain.pack(2, "case", "item", id="in")
        chain.see(3, "case", id="shipped")
        chain.unpack(4, "case", "item", id="out")
        chain.see(5, "case", id="after")
        answer = chain.trace("item")
        assert history(answer, "item") == {"in": "certain", "shipped": "certain/case", "out": "certain"}
        (link,) = node(answer, "case").links
        assert (link.kind, link.from_us, link.until_us, link.marks) == ("contained", 2, 4, ())
        assert node(answer, "case").role == "container"

    @pytest.mark.parametrize("merchant", [1, 2])
    def test_delete_naming_no_child_means_all_whoever_says_so(self, chain: Chain, merchant: int) -> None:
        chain.pack(2, "case", "item")
        chain.unpack(4, "case", id="all out", merchant=merchant)
        chain.see(5, "case", id="after")
        assert history(chain.trace("item"), "item") == {"e0": "certain", "all out": "certain/case"}

    def test_add_to_another_parent_is_an_implied_end(self, chain: Chain) -> None:
        chain.pack(2, "case", "item")
        chain.pack(4, "box", "item")
        chain.see(5, "case", id="without it")
        answer = chain.trace("item")
        assert "without it" not in history(answer, "item")
        assert node(answer, "case").links[0].marks == ("implied",)
        assert node(answer, "box").links[0].until_us == 0

    def test_first_observe_naming_both_starts_it(self, chain: Chain) -> None:
        chain.see(1, "case", id="before")
        chain.see_in(2, "case", "item", id="seen in")
        chain.see_in(3, "case", "other", id="seen without")
        chain.see(4, "case", id="shipped")
        answer = chain.trace("item")
        assert list(history(answer, "item")) == ["seen in", "seen without", "shipped"]
        assert node(answer, "case").links[0].marks == ("start-unknown",)
        assert node(answer, "case").links[0].from_us == 0

    def test_delete_without_add_reaches_back_to_the_own_event_before(self, chain: Chain) -> None:
        chain.see(1, "case", id="long before")
        chain.see(2, "item", id="made")
        chain.see(3, "case", id="shipped")
        chain.unpack(4, "case", "item", id="out")
        answer = chain.trace("item")
        assert list(history(answer, "item")) == ["made", "shipped", "out"]
        assert node(answer, "case").links[0].marks == ("reached-back",)

    @pytest.mark.parametrize("gone", ["item", "case"])
    @pytest.mark.parametrize(
        "how", [{"action": "DELETE"}, {"business_step": "destroying"}, {"disposition": "destroyed"}], ids=str
    )
    def test_the_end_of_either_ends_it(self, chain: Chain, gone: str, how: dict[str, str]) -> None:
        chain.pack(2, "case", "item")
        chain.see(4, gone, id="gone", **how)
        chain.see(5, "case", id="after")
        assert list(history(chain.trace("item"), "item")) == ["e0", "gone"]

    @pytest.mark.parametrize("gone", ["item", "case"])
    def test_consumption_ends_it(self, chain: Chain, gone: str) -> None:
        chain.pack(2, "case", "item")
        chain.make(4, [gone], ["soup"], id="cooked")
        chain.see(5, "case", id="after")
        assert list(history(chain.trace("item"), "item")) == ["e0", "cooked"]


class TestRule5Lots:
    def test_in_many_parents_while_more_went_in_than_out(self, chain: Chain) -> None:
        chain.pack(1, "a", "lot:x*5.5 KGM")
        chain.pack(2, "b", "lot:x*3 KGM")
        chain.unpack(3, "a", "lot:x*5.4 KGM")
        chain.see(4, "a", id="a with the rest")
        chain.unpack(5, "a", "lot:x*.1 KGM")
        chain.see(6, "a", id="a without")
        chain.see(6, "b", id="b")
        answer = chain.trace("lot:x")
        found = history(answer, "lot:x")
        assert found["a with the rest"] == "possible/a"
        assert found["b"] == "possible/b"
        assert "a without" not in found
        assert node(answer, "a").links[0].marks == ("some-of",)
        assert node(answer, "a").certainty == "possible"

    def test_units_count_each_on_their_own(self, chain: Chain) -> None:
        chain.pack(1, "a", "lot:x*5 KGM", "lot:x*2")
        chain.unpack(2, "a", "lot:x*5 KGM")
        chain.see(3, "a", id="with two pieces")
        assert "with two pieces" in history(chain.trace("lot:x"), "lot:x")

    def test_unknown_quantity_stays_until_a_delete_without_one(self, chain: Chain) -> None:
        chain.pack(1, "a", "lot:x")
        chain.unpack(2, "a", "lot:x*5")
        chain.see(3, "a", id="still")
        chain.unpack(4, "a", "lot:x")
        chain.see(5, "a", id="no more")
        found = history(chain.trace("lot:x"), "lot:x")
        assert "still" in found
        assert "no more" not in found

    @pytest.mark.parametrize("text", ["1e999999999", "NaN", "-4", "many", "0." + "0" * 60 + "1"])
    def test_a_quantity_that_is_none_is_unknown(self, chain: Chain, text: str) -> None:
        chain.pack(1, "a", f"lot:x*{text}")
        chain.unpack(2, "a", "lot:x*7")
        chain.see(3, "a", id="still")
        assert "still" in history(chain.trace("lot:x"), "lot:x")


class TestRule6History:
    def test_containers_in_containers_while_all_hold(self, chain: Chain) -> None:
        chain.pack(1, "case", "item", id="a")
        chain.pack(2, "pallet", "case", id="b")
        chain.pack(3, "truck", "pallet", id="c")
        chain.see(4, "truck", id="d")
        chain.unpack(5, "case", "item", id="e")
        chain.see(6, "truck", id="f")
        chain.unpack(7, "truck", "pallet", id="g")
        answer = chain.trace("item")
        assert history(answer, "item") == {
            "a": "certain",
            "b": "certain/case",
            "c": "certain/case/pallet",
            "d": "certain/case/pallet/truck",
            "e": "certain",
        }
        assert ids(answer) == [
            "a",
            "b",
            "c",
            "d",
            "e",
            "g",
        ]  # g bounds the link pallet-truck, and counts for nothing

    def test_not_those_that_only_move_others(self, chain: Chain) -> None:
        chain.pack(1, "case", "item")
        chain.pack(2, "case", "other")
        chain.unpack(3, "case", "other")
        chain.pack(4, "case", "third", kind="Association")
        assert list(history(chain.trace("item"), "item")) == ["e0"]

    def test_loops_end(self, chain: Chain) -> None:
        chain.pack(1, "a", "b")
        chain.pack(2, "b", "c")
        chain.pack(3, "c", "a")
        chain.see(4, "b")
        chain.pack(5, "d", "d")
        assert history(chain.trace("a"), "a") == {"e0": "certain", "e2": "certain", "e3": "certain/c/b"}
        assert list(history(chain.trace("d"), "d")) == ["e4"]


class TestRule7Transformations:
    def test_levels_up_and_down(self, chain: Chain) -> None:
        chain.make(1, ["wheat"], ["flour"])
        chain.make(2, ["flour", "water"], ["dough"])
        chain.make(3, ["dough"], ["bread"])
        answer = chain.trace("dough", BOTH)
        assert levels(answer, UP) == {"flour": 1, "water": 1, "wheat": 2}
        assert levels(answer, DOWN) == {"bread": 1}
        assert node(answer, "wheat").links[0].identities == (answer.events[0].identity,)

    def test_one_transformation_id_is_one_transformation_of_its_merchant(self, chain: Chain) -> None:
        chain.make(5, ["late"], [], transformation="batch 7")
        chain.make(1, ["early"], [], transformation="batch 7")
        chain.make(3, [], ["out"], transformation="batch 7")
        chain.make(1, ["foreign"], [], transformation="batch 7", merchant=2)
        answer = chain.trace("out", UP)
        assert levels(answer, UP) == {"early": 1, "late": 1}
        assert node(answer, "late").marks == ("time-conflict",)
        assert node(answer, "early").marks == ()
        assert levels(chain.trace("late", DOWN), DOWN) == {"out": 1}


class TestRule8LotsAndSerials:
    def test_upstream_of_a_lot_is_upstream_of_its_serial(self, chain: Chain) -> None:
        chain.make(1, ["milk"], ["lot:x"])
        chain.see(2, "serial", lot="lot:x", action="ADD")
        answer = chain.trace("serial", UP)
        assert levels(answer, UP) == {"lot:x": 1, "milk": 2}
        assert node(answer, "lot:x").links[0].kind == "lot-of-serial"

    def test_a_registration_says_the_lot_and_the_newest_counts(self, chain: Chain) -> None:
        chain.make(1, ["milk"], ["lot:x"])
        chain.make(1, ["cream"], ["lot:y"])
        chain.see(2, "item:1", action="ADD")
        first = chain.register("item:1", {}, lot="lot:x")
        assert levels(chain.trace("item:1", UP), UP) == {"lot:x": 1, "milk": 2}
        assert levels(chain.trace("milk", DOWN), DOWN) == {"lot:x": 1, "item:1": 2}
        answer = chain.trace("item:1", UP)
        assert [event.registration for event in answer.events if event.registration] == [first.registration]
        chain.register("item:1", {}, lot="lot:y")
        assert levels(chain.trace("item:1", UP), UP) == {"lot:y": 1, "cream": 2}
        assert levels(chain.trace("milk", DOWN), DOWN) == {"lot:x": 1}

    def test_lot_events_are_possible_for_a_serial(self, chain: Chain) -> None:
        chain.see(1, "lot:x", id="of the lot")
        chain.see(2, "serial", lot="lot:x", id="of the serial")
        chain.see(3, "sister", lot="lot:x", id="of its sister")
        assert history(chain.trace("serial"), "serial") == {
            "of the lot": "possible/lot:x",
            "of the serial": "certain",
        }

    def test_downstream_of_a_lot_includes_its_serials(self, chain: Chain) -> None:
        chain.make(1, ["milk"], ["lot:x"])
        chain.see(2, "serial", lot="lot:x")
        chain.make(3, ["serial"], ["cake"])
        assert levels(chain.trace("milk", DOWN), DOWN) == {"lot:x": 1, "serial": 2, "cake": 3}

    def test_lot_events_are_not_repeated_for_serials_met_from_their_lot(self, chain: Chain) -> None:
        chain.see(1, "lot:x", id="of the lot")
        chain.see(2, "serial", lot="lot:x", id="of the serial")
        assert list(history(chain.trace("lot:x", DOWN), "serial")) == ["of the serial"]

    def test_no_way_from_a_serial_to_its_sisters(self, chain: Chain) -> None:
        chain.see(2, "serial", "sister", lot="lot:x")
        answer = chain.trace("serial", BOTH)
        assert {node.key for node in answer.nodes} == {"serial", key_of("lot:x")}


class TestRule9Containers:
    def test_containers_are_no_way_to_other_contents(self, chain: Chain) -> None:
        chain.pack(1, "case", "item", "other")
        chain.make(2, ["other"], ["product"])
        answer = chain.trace("item", BOTH)
        assert [(node.key, node.level, node.role) for node in answer.nodes] == [
            ("case", 0, "container"),
            ("item", 0, "goods"),
        ]

    def test_a_container_as_root_stands_for_its_contents(self, chain: Chain) -> None:
        chain.make(1, ["milk"], ["cheese"])
        chain.pack(2, "case", "cheese")
        chain.pack(3, "pallet", "case")
        chain.unpack(4, "pallet", "case")
        chain.unpack(5, "case", "cheese")
        chain.pack(6, "case", "later")
        chain.make(7, ["cheese"], ["sandwich"])
        answer = chain.trace("pallet", BOTH)
        assert levels(answer, HISTORY) == {"pallet": 0, "case": 0, "cheese": 0}
        assert levels(answer, UP) == {"milk": 1}
        assert levels(answer, DOWN) == {"sandwich": 1}
        assert [(link.kind, link.key) for link in node(answer, "cheese").links] == [("contains", "case")]
        assert node(answer, "pallet").links == ()

    def test_a_class_among_the_contents_is_not_looked_up(self, chain: Chain) -> None:
        chain.pack(1, "case", "class:salt*5")
        chain.see(2, "class:salt*1", id="any salt anywhere")
        answer = chain.trace("case", BOTH)
        assert levels(answer, HISTORY) == {"case": 0, "class:salt": 0}
        assert ids(answer) == ["e0"]

    def test_a_container_as_input_stands_for_what_was_in_it_then(self, chain: Chain) -> None:
        chain.pack(1, "tank", "lot:old*5")
        chain.unpack(2, "tank", "lot:old*5")
        chain.pack(3, "tank", "drum")
        chain.pack(4, "drum", "lot:new*5")
        chain.pack(4, "tank", "moved")
        chain.pack(5, "bin", "moved")
        chain.make(6, ["tank"], ["paint"])
        answer = chain.trace("paint", UP)
        assert levels(answer, UP) == {"tank": 1, "drum": 1, "lot:new": 1}
        assert node(answer, "lot:new").certainty == "possible"
        assert node(answer, "drum").certainty == "certain"
        for inside in ("drum", "lot:new"):
            assert levels(chain.trace(inside, DOWN), DOWN) == {"paint": 1}
        for outside in ("lot:old", "moved"):
            assert levels(chain.trace(outside, DOWN), DOWN) == {}

    def test_taken_out_at_the_moment_of_use_is_not_used(self, chain: Chain) -> None:
        chain.pack(1, "tank", "item")
        chain.unpack(2, "tank", "item")
        chain.make(2, ["tank"], ["paint"])
        assert levels(chain.trace("item", DOWN), DOWN) == {}
        assert levels(chain.trace("paint", UP), UP) == {"tank": 1}


class TestRule10Association:
    def test_the_child_is_upstream_of_its_parent_and_the_parent_downstream_of_it(self, chain: Chain) -> None:
        chain.make(1, ["steel"], ["engine"])
        chain.pack(2, "car", "engine", kind="Association")
        chain.unpack(5, "car", "engine", kind="Association")
        answer = chain.trace("car", UP)
        assert levels(answer, UP) == {"engine": 1, "steel": 2}
        (link,) = node(answer, "engine").links
        assert (link.kind, link.from_us, link.until_us) == ("component-of", 2, 5)
        answer = chain.trace("engine", DOWN)
        assert levels(answer, DOWN) == {"car": 1}
        assert node(answer, "car").links[0].kind == "has-component"

    def test_its_sensor_events_count_for_the_parent_and_what_is_in_it_while_associated(
        self, chain: Chain
    ) -> None:
        chain.sense(1, "probe", id="before")
        chain.pack(2, "truck", "probe", kind="Association", id="mounted")
        chain.pack(3, "truck", "case", id="loaded")
        chain.sense(4, "probe", id="on the way")
        chain.sense(5, device="probe", id="by the device alone")
        chain.see(5, "probe", id="no measurement")
        chain.unpack(6, "truck", "case", id="unloaded")
        chain.sense(7, "probe", id="still mounted")
        chain.unpack(8, "truck", "probe", kind="Association", id="taken off")
        chain.sense(9, "probe", id="after")
        assert history(chain.trace("case"), "case") == {
            "loaded": "certain",
            "on the way": "certain/truck/probe",
            "by the device alone": "certain/truck/probe",
            "unloaded": "certain",
        }
        assert list(history(chain.trace("truck"), "truck")) == [
            "mounted",
            "loaded",
            "on the way",
            "by the device alone",
            "unloaded",
            "still mounted",
            "taken off",
        ]

    def test_a_place_and_a_thing_do_not_end_each_other_and_two_things_do(self, chain: Chain) -> None:
        chain.pack(1, "place:store", "probe", kind="Association")
        chain.pack(2, "fridge", "probe", kind="Association")
        chain.pack(3, "freezer", "probe", kind="Association")
        answer = chain.trace("probe", DOWN)
        ends = {name: node(answer, name).links[0].until_us for name in ("place:store", "fridge", "freezer")}
        assert ends == {"place:store": 0, "fridge": 3, "freezer": 0}
        assert node(answer, "fridge").links[0].marks == ("implied",)

    def test_it_opens_no_containment(self, chain: Chain) -> None:
        chain.pack(1, "truck", "probe", kind="Association")
        chain.see(2, "truck")
        assert list(history(chain.trace("probe"), "probe")) == ["e0"]
        assert list(history(chain.trace("truck"), "truck")) == ["e0", "e1"]

    def test_a_place_it_is_associated_with_is_shown_never_followed(self, chain: Chain) -> None:
        chain.pack(1, "place:store", "probe", kind="Association")
        chain.see(2, "place:store")
        answer = chain.trace("probe", DOWN)
        assert list(history(answer, "probe")) == ["e0"]
        assert levels(answer, DOWN) == {}
        assert node(answer, "place:store").role == "container"

    def test_a_location_as_parent_is_shown_never_followed(self, chain: Chain) -> None:
        chain.pack(1, "place:store", "item")
        chain.see(2, "place:store")
        answer = chain.trace("item")
        assert list(history(answer, "item")) == ["e0"]
        assert node(answer, "place:store").grade == "location"


class TestRule11Transactions:
    @pytest.mark.parametrize("merchant", [1, 2])
    def test_they_are_listed_until_an_empty_delete_whoever_says_so(self, chain: Chain, merchant: int) -> None:
        chain.order(1, "ADD", "po:1", "item")
        chain.order(2, "DELETE", "po:1", merchant=merchant)
        chain.see(3, "item", transactions=(Typed("inv:2", "inv"),))
        answer = chain.trace("item")
        listed = [(each.key, each.from_us, each.until_us) for each in node(answer, "item").transactions]
        assert listed == [("inv:2", 3, 0), ("po:1", 1, 2)]
        assert ids(answer) == ["e0", "e1", "e2"]

    def test_an_order_is_a_root_and_no_bridge(self, chain: Chain) -> None:
        chain.make(1, ["milk"], ["cheese"])
        chain.order(2, "ADD", "po:1", "cheese", "bread")
        answer = chain.trace("po:1", BOTH)
        assert levels(answer, HISTORY) == {"po:1": 0, "bread": 1, "cheese": 1}
        assert levels(answer, UP) == {"milk": 2}
        assert levels(chain.trace("bread", BOTH), HISTORY) == {"bread": 0}


class TestRule12Levels:
    @pytest.mark.parametrize("end", ["class:salt", "place:mill"])
    def test_the_walk_ends_at_classes_and_locations(self, chain: Chain, end: str) -> None:
        chain.make(1, ["brine"], [end])
        chain.make(2, [end], ["bread"])
        answer = chain.trace("bread", UP)
        assert levels(answer, UP) == {end: 1}
        assert node(answer, end).marks == ("not-expanded",)

    def test_fewest_links_and_seen_again(self, chain: Chain) -> None:
        chain.make(1, ["salt"], ["brine"])
        chain.make(2, ["brine", "salt"], ["cheese"])
        chain.make(3, ["cheese"], ["salt"])
        answer = chain.trace("cheese", UP)
        assert levels(answer, UP) == {"salt": 1, "brine": 1}
        links = {link.key: link.marks for link in node(answer, "salt").links}
        assert links == {"cheese": (), "brine": ("seen",)}
        assert node(answer, "cheese").links[0].key == "salt"

    def test_met_both_ways_is_two_nodes(self, chain: Chain) -> None:
        chain.make(1, ["starter"], ["dough"])
        chain.make(2, ["dough"], ["starter"])
        answer = chain.trace("dough", BOTH)
        assert levels(answer, UP) == levels(answer, DOWN) == {"starter": 1}

    def test_max_depth_marks_where_it_stopped(self, chain: Chain) -> None:
        for level in range(5):
            chain.make(level, [f"g{level}"], [f"g{level + 1}"])
        answer = chain.trace("g5", UP, max_depth=2)
        assert levels(answer, UP) == {"g4": 1, "g3": 2}
        assert node(answer, "g3").marks == ("not-expanded",)
        assert answer.truncated
        assert not chain.trace("g5", UP, max_depth=5).truncated

    def test_max_nodes_and_max_events_bound_the_answer(self, chain: Chain) -> None:
        chain.make(1, [f"in{number}" for number in range(50)], ["out"])
        for number in range(50):
            chain.see(0, f"in{number}")
        few_nodes = chain.trace("out", UP, max_nodes=10)
        assert len(few_nodes.nodes) == 10
        assert few_nodes.truncated
        few_events = chain.trace("out", UP, max_events=5)
        assert len(few_events.events) <= 6
        assert few_events.truncated

    def test_more_records_of_a_name_than_the_limit(self, chain: Chain) -> None:
        for time in range(30):
            chain.see(time, "item")
        answer = chain.trace("item", max_events=10)
        assert len(answer.events) == 11
        assert answer.truncated

    @pytest.mark.parametrize("limits", [{"max_depth": 101}, {"max_nodes": 0}, {"max_events": 0}])
    def test_limits_have_limits(self, limits: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="must be"):
            Query("item", Direction.BOTH, **limits)


class TestRounds:
    def test_they_grow_with_depth_and_not_with_keys(self, chain: Chain) -> None:
        for level in range(5):
            for number in range(20):
                chain.make(
                    level, [f"{level}-{number}-{each}" for each in range(3)], [f"{level + 1}-{number}-0"]
                )
        source = Source(chain.sealed)
        answer = drive(trace(Query("5-0-0", UP)), source)
        assert max(node.level for node in answer.nodes) == 5
        assert source.rounds <= 7

    def test_other_events_than_asked_do_no_harm(self, chain: Chain) -> None:
        chain.make(1, ["milk"], ["cheese"])
        chain.see(2, "stone")
        everything = chain.sealed

        def generous(_: Lookup) -> list[SealedFacts]:
            return everything

        assert drive(trace(Query("cheese")), generous) == drive(trace(Query("cheese")), Source(everything))

    def test_nothing_known_of_a_key_is_an_empty_trace(self, chain: Chain) -> None:
        answer = chain.trace("nothing", BOTH)
        assert [node.key for node in answer.nodes] == ["nothing"]
        assert answer.events == ()

    def test_an_action_that_is_missing_moves_nothing(self, chain: Chain) -> None:
        odd = chain.pack(1, "case", "item").facts
        chain.sealed.clear()
        chain.seal(msgspec.structs.replace(odd, action=""))
        assert len(chain.trace("item", BOTH).nodes) == 1


class TestClosure:
    """Events that are in an answer only so that tracing over it alone gives it again."""

    def closed(self, chain: Chain, name: str, way: Direction) -> list[str]:
        answer = chain.trace(name, way)
        kept = [each for each in chain.sealed if each.facts.event_id in ids(answer)]
        assert drive(trace(Query(key_of(name), way)), Source(kept)) == answer
        return [event.facts.event_id for event in answer.events if not event.mentions]

    def test_the_end_of_an_earlier_journey_whose_start_is_shown(self, chain: Chain) -> None:
        chain.pack(1, "first", "item")
        chain.pack(2, "truck", "first", "second", id="both leave")
        chain.unpack(3, "truck", "second", id="second back")
        chain.unpack(4, "first", "item")
        chain.pack(5, "second", "item")
        chain.see(6, "truck", id="without it")
        assert self.closed(chain, "item", HISTORY) == ["second back"]

    def test_a_child_that_had_left_the_input_for_another_container(self, chain: Chain) -> None:
        chain.pack(1, "tank", "drum", id="in")
        chain.pack(2, "bin", "drum", id="moved")
        chain.make(3, ["tank"], ["paint"])
        assert self.closed(chain, "paint", UP) == ["moved"]

    def test_what_ends_the_containment_of_a_container(self, chain: Chain) -> None:
        chain.pack(1, "truck", "case", id="loaded")
        chain.pack(2, "case", "item")
        chain.unpack(3, "case", "item")
        chain.unpack(4, "truck", id="emptied")
        assert self.closed(chain, "item", HISTORY) == ["loaded", "emptied"]


class _Counted(dict[str, str]):
    """Counts how often it is gone through."""

    gone_through = 0

    def items(self) -> Any:
        self.gone_through += 1
        return super().items()


def test_an_event_of_many_serials_is_not_gone_through_for_each_of_them(chain: Chain) -> None:
    # 20,000 serials of one event took 400 million steps.
    serials = [f"s{number}" for number in range(100)]
    sealed = chain.see(1, *serials, lot="lot:a", action="ADD")
    counted = _Counted(sealed.facts.lot_of)
    facts = msgspec.structs.replace(sealed.facts, lot_of=counted)
    chain.sealed[0] = dataclasses.replace(sealed, facts=facts)
    assert len(chain.trace("lot:a", DOWN).nodes) == 101
    assert counted.gone_through < 10
