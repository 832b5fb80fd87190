"""The `goodstrace` command as people and programs use it: in a process of its own, by its output and its exit status."""

import json
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from deploy.stack import Stack
from goodstrace.cli import main
from goodstrace.note import Signer
from goodstrace.signatures import MerchantKey
from tests.system.harness import System, eventually
from tests.unit.collector_builders import document, object_event
from tests.unit.xml_builders import NAMESPACES, event_element, xml_document

EVENTS = 300


@pytest.fixture(scope="module")
def system(stack: Stack, systems: Callable[..., System]) -> System:
    """A system as `make up` starts it: captures need an API key, which the command finds by itself."""
    return systems(stack, GOODSTRACE_ACCOUNTS="required").start()


@pytest.fixture(scope="module")
def samples(system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    ok(system, "simulate", "--seed", "9", "--events", str(EVENTS), "--out", str(folder))
    return folder


@pytest.fixture(scope="module")
def index(samples: Path) -> dict[str, Any]:
    return dict(json.loads((samples / "index.json").read_text()))


@pytest.fixture(scope="module")
def captured(system: System, samples: Path) -> list[dict[str, Any]]:
    """The samples captured by the command, and all sealed."""
    files = [str(file) for file in sorted(samples.glob("*.jsonld"))]
    results = list(json.loads(ok(system, "capture", "--json", *files)))
    system.wait_sealed(EVENTS + 1)  # the merchant's registration is sealed too
    return results


def inside(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, str, str]:
    """Run the command's entry point in this process: exit status, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["goodstrace", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, said.out, said.err


def ok(system: System, *arguments: str) -> str:
    done = system.cli(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fails(system: System, *arguments: str, code: int = 1) -> str:
    """Run a command that must fail as people expect it: one line that says why, nothing on standard output. 2: it was called wrongly."""
    done = system.cli(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


def verdicts(job: dict[str, Any]) -> list[str]:
    return [event["verdict"] for event in job["events"]]


def test_the_same_seed_gives_the_same_bytes(system: System, samples: Path, tmp_path: Path) -> None:
    for seed, same in (("9", True), ("10", False)):
        folder = tmp_path / seed
        said = json.loads(
            ok(system, "simulate", "--seed", seed, "--events", str(EVENTS), "--out", str(folder), "--json")
        )
        assert said["events"] == EVENTS
        files = {file.name: file.read_bytes() for file in folder.iterdir()}
        assert (files == {file.name: file.read_bytes() for file in samples.iterdir()}) == same


def test_captured_documents_are_told_one_by_one(captured: list[dict[str, Any]], samples: Path) -> None:
    assert [Path(each["file"]).name for each in captured] == sorted(
        file.name for file in samples.glob("*.jsonld")
    )
    assert all(each["job"]["success"] and not each["job"]["running"] for each in captured)
    assert sum(len(verdicts(each["job"])) for each in captured) == EVENTS
    assert {verdict for each in captured for verdict in verdicts(each["job"])} == {"accepted"}


def test_a_job_tells_where_each_of_its_events_is_sealed(
    system: System, captured: list[dict[str, Any]], tmp_path: Path
) -> None:
    with system.collector() as collector:
        jobs = [collector.job(each["location"]).raw for each in captured]
    places = {
        event["recordID"]: (event["sealed"]["log"], str(event["sealed"]["index"]))
        for job in jobs
        for event in job["events"]
    }
    assert len(set(places.values())) == EVENTS
    for record in (min(places), max(places)):
        entry = tmp_path / record
        ok(system, "prove", *places[record], "--out", str(tmp_path / "proof"), "--entry", str(entry))
        assert json.loads(entry.read_bytes())["id"] == record


def test_the_stream_has_every_event_and_the_state_with_proofs_is_the_collectors(
    system: System, captured: list[dict[str, Any]], index: dict[str, Any]
) -> None:
    lines = [
        json.loads(each) for each in ok(system, "subscribe", "--from", "beginning", "--once").splitlines()
    ]
    assert len({(each["log"], each["index"]) for each in lines}) == len(lines) == EVENTS
    shipped = ok(system, "subscribe", "--from", "beginning", "--once", "--step", "shipping").splitlines()
    assert len(shipped) == sum(each["facts"].get("business_step") == "shipping" for each in lines) > 0
    item = index["item"]
    named = {each["identity"] for each in lines if item in str(each["facts"])}
    goods = json.loads(ok(system, "goods", item, "--json"))
    (of_item, *_) = goods["states"]
    assert {identity for each in of_item["statements"] for identity in each["identities"]} <= named

    def kept() -> dict[str, Any] | None:
        state = system.store["goods_states"].find_one({"_id": item})
        newest = max(each["facts"]["time_us"] for each in lines if each["identity"] in named)
        return state if state and state["step"]["time_us"] == newest else None

    state = eventually(kept, what="the collector has kept the states")
    said = {each["field"]: each for each in of_item["statements"]}
    for field in ("step", "place", "owner", "holder", "destination", "disposition", "lot"):
        assert (field in said) is (field in state), field
        if field in state:
            assert said[field]["value"] == state[field]["value"]
            assert (said[field]["since_us"], said[field]["time_us"]) == (
                state[field]["since_us"],
                state[field]["time_us"],
            )
    orders = {(each["type"], each["value"]) for each in of_item["statements"] if each["field"] == "orders"}
    assert orders == {(each["type"], each["value"]) for each in state.get("orders", ())}
    inside = {each["value"] for each in of_item["statements"] if each["field"] == "inside"}
    assert inside == {each["value"] for each in state.get("inside", ())}


def test_capturing_again_succeeds_and_says_that_it_is_known(
    system: System, samples: Path, captured: list[dict[str, Any]]
) -> None:
    file = str(min(samples.glob("*.jsonld")))
    (again,) = json.loads(ok(system, "capture", "--json", file))
    assert set(verdicts(again["job"])) == {"duplicate"}
    assert "duplicate" in ok(system, "capture", file)


def test_a_refused_document_fails_with_the_place_of_its_fault(
    system: System, samples: Path, captured: list[dict[str, Any]], tmp_path: Path
) -> None:
    document = json.loads(min(samples.glob("*.jsonld")).read_bytes())
    document["epcisBody"]["eventList"][1]["eventTime"] = "yesterday"
    (tmp_path / "bad.jsonld").write_text(json.dumps(document))
    done = system.cli("capture", str(tmp_path / "bad.jsonld"))
    assert done.returncode == 1
    assert "/epcisBody/eventList/1/eventTime" in done.stdout
    done = system.cli("capture", "--json", str(tmp_path / "bad.jsonld"))
    assert done.returncode == 1
    (refused,) = json.loads(done.stdout)
    assert refused["problem"]["status"] == 400
    assert refused["problem"]["errors"][0]["pointer"] == "/epcisBody/eventList/1/eventTime"


def test_an_xml_document_is_captured_and_traced_and_verified_like_any_other(
    system: System, captured: list[dict[str, Any]], tmp_path: Path
) -> None:
    event = object_event(eventID="urn:uuid:xml", epcList=["urn:xml:thing"], **{"ex:note": "ex:1"})
    file = tmp_path / "document.xml"
    file.write_bytes(xml_document(event_element(event, version=1), version=1))
    before = system.sealed_count()
    (result,) = json.loads(ok(system, "capture", "--json", str(file)))
    (verdict,) = result["job"]["events"]
    assert verdict["verdict"] == "accepted"
    system.wait_sealed(before + 1)
    (traced,) = json.loads(ok(system, "trace", "--json", "urn:xml:thing"))["events"]
    assert traced["proof"]["verified"]
    assert traced["facts"]["context"] == {"xmlns": NAMESPACES | {"epcis": "urn:epcglobal:epcis:xsd:1"}}
    assert traced["facts"]["event_hash"] == verdict["eventHash"]
    # The client reads the event again from its sealed bytes: no name takes a prefix with which a value begins.
    assert traced["event"].pop("@context") == {"ns1": NAMESPACES["ex"]}
    assert traced["event"] == {name.replace("ex:", "ns1:"): value for name, value in event.items()}


def test_a_trace_goes_several_levels_up_and_every_event_is_proved(
    system: System, captured: list[dict[str, Any]], index: dict[str, Any]
) -> None:
    answer = json.loads(ok(system, "trace", "--json", index["item"]))
    assert answer["verified"]
    assert answer["key"] == index["item"]
    goods = {node["key"]: node.get("level", 0) for node in answer["nodes"] if node["role"] == "goods"}
    for level in index["upstream"]:
        assert set(level) <= set(goods)
    assert max(goods.values()) >= len(index["upstream"])
    assert answer["events"]
    assert all(event["proof"]["verified"] for event in answer["events"])
    assert len(answer["browse_ids"]) >= 1
    tree = ok(system, "trace", index["item"])
    assert index["item"] in tree
    assert "made from" in tree
    proofs = len(answer["events"]) + sum(len(event["also_at"]) for event in answer["events"])
    assert f"{proofs} of {proofs} inclusion proofs verified" in tree


def test_a_trace_as_of_an_earlier_size_is_answered_as_of_it(
    system: System, captured: list[dict[str, Any]], index: dict[str, Any]
) -> None:
    whole = json.loads(ok(system, "trace", "--json", index["item"]))
    sizes = {
        log: note.split("\n")[1] for log, note in whole["checkpoints"].items() if log.startswith("goods/")
    }
    as_of = [f"--as-of={log}={size}" for log, size in sizes.items()]
    again = json.loads(ok(system, "trace", "--json", *as_of, index["item"]))
    assert again["events"] == whole["events"]
    assert again["nodes"] == whole["nodes"]


def test_goods_that_nothing_names_have_an_empty_trace(system: System, captured: list[dict[str, Any]]) -> None:
    answer = json.loads(ok(system, "trace", "--json", "urn:test:nothing"))
    assert answer["events"] == []
    assert "nothing sealed names this key" in ok(system, "trace", "urn:test:nothing")


def test_look_ups_are_listed_with_who_and_why(
    system: System, captured: list[dict[str, Any]], index: dict[str, Any]
) -> None:
    look = ("--user", "inspector", "--purpose", "recall 7")  # a name of one's own choice is not looked at
    traced = json.loads(ok(system, "trace", "--json", *look, index["lot"]))

    def mine() -> list[dict[str, Any]]:
        listed = json.loads(ok(system, "browses", "--json", index["lot"]))["browses"]
        return [
            each
            for each in listed
            if each["who"]["user"] == "merchant:1" and each["what"]["method"] == "Trace"
        ]

    (record,) = eventually(mine, what="the look-up is in the browse log")
    assert record["verified"]
    assert record["id"] in traced["browse_ids"]
    assert record["purpose"] == {"purpose": "recall 7"}
    assert record["what"]["keys"] == [index["lot"]]
    assert record["outcome"] == {"events": len(traced["events"])}
    by_user = json.loads(ok(system, "browses", "--json", "--by", "merchant:1"))["browses"]
    assert record["id"] in {each["id"] for each in by_user}
    assert "merchant:1" in ok(system, "browses", "--by", "merchant:1")


def test_verify_checks_every_log(system: System, captured: list[dict[str, Any]]) -> None:
    said = ok(system, "verify", "--json")
    assert json.loads(said)
    for log in ("goods/0", "goods/1", "browse/0"):
        assert log in said
    assert "goods/0" in ok(system, "verify")


def test_what_a_rule_finds_is_sealed_and_shown_and_not_for_the_twin(
    system: System, samples: Path, captured: list[dict[str, Any]], tmp_path: Path
) -> None:
    items = [f"https://id.gs1.org/01/09524321012340/21/WARM-{number}" for number in (1, 2)]
    event = {
        "type": "ObjectEvent",
        "action": "ADD",
        "eventTime": "2026-01-02T03:04:05Z",
        "eventTimeZoneOffset": "+00:00",
        "bizStep": "commissioning",
        "ilmd": {"gs1:maximumTemperature": 8},
    }
    events = [
        {
            **event,
            "epcList": [item],
            "sensorElementList": [{"sensorReport": [{"type": "Temperature", "value": value, "uom": "CEL"}]}],
        }
        for item, value in zip(items, (8.5, 7.5), strict=True)
    ]
    whole = json.loads(min(samples.glob("*.jsonld")).read_bytes())
    whole["epcisBody"]["eventList"] = events
    (tmp_path / "warm.jsonld").write_text(json.dumps(whole))
    before = system.sealed_count()
    (said,) = json.loads(ok(system, "capture", "--json", str(tmp_path / "warm.jsonld")))
    system.wait_sealed(before + 2)
    verdict = {
        "rule": "storage-too-warm",
        "severity": "critical",
        "at": "/sensorElementList/0/sensorReport/0",
        "detail": "8.5 CEL is above the highest storage temperature stated, 8 degrees Celsius",
    }
    assert [each.get("ruleVerdicts") for each in said["job"]["events"]] == [[verdict], None]
    for item, expected in zip(items, ([verdict], []), strict=True):
        (shown,) = json.loads(ok(system, "trace", "--json", item))["events"]
        assert shown["proof"]["verified"]
        assert shown["facts"]["rule_sets"] == ["2"]
        assert shown["facts"].get("verdicts", []) == expected
    assert f"critical: {verdict['detail']}" in ok(system, "trace", items[0])


def test_what_is_registered_of_goods_judges_what_sensors_report_later(
    system: System, samples: Path, captured: list[dict[str, Any]], tmp_path: Path
) -> None:
    product, item = "https://id.gs1.org/01/09524321012340", "https://id.gs1.org/01/09524321012340/21/COLD-1"

    def register(highest: str) -> None:
        goods = {"key": product, "names": {"en": "Fish"}, "attributes": {"maximumTemperature": highest}}
        (tmp_path / "goods.json").write_text(json.dumps(goods))
        ok(system, "registry", "goods", "put", str(tmp_path / "goods.json"))

    before = system.sealed_count()
    register("4")
    whole = json.loads(min(samples.glob("*.jsonld")).read_bytes())
    whole["epcisBody"]["eventList"] = [
        {
            "type": "ObjectEvent",
            "action": "OBSERVE",
            "eventTime": f"2026-01-03T03:04:0{second}Z",
            "eventTimeZoneOffset": "+00:00",
            "bizStep": "transporting",
            "epcList": [item],
            "sensorElementList": [{"sensorReport": [{"type": "Temperature", "value": value, "uom": "CEL"}]}],
        }
        for second, value in enumerate((4.5, 4))
    ]
    (tmp_path / "cold.jsonld").write_text(json.dumps(whole))
    (said,) = json.loads(ok(system, "capture", "--json", str(tmp_path / "cold.jsonld")))
    system.wait_sealed(before + 3)
    warm, twin = [each.get("ruleVerdicts") for each in said["job"]["events"]]
    assert twin is None
    assert [(each["rule"], each["registered"]) for each in warm] == [("storage-too-warm", [product])]
    traced = json.loads(ok(system, "trace", "--json", item))["events"]
    shown = [each for each in traced if item in each["facts"]["keys"].get("epc", ())]
    assert [each["proof"]["verified"] for each in shown] == [True, True]
    assert {each["facts"]["registered_range"]["high"]["celsius"] for each in shown} == {"4"}
    assert f"as registered for {product}" in " ".join(ok(system, "trace", item).split())

    register("10")  # from here on the registry says something else
    system.wait_sealed(before + 4)
    found = json.loads(ok(system, "replay", "verify", "--from", "collected", "--json"))
    assert found["sound"]


def commissioning(epc: str, event_id: str) -> str:
    event = object_event(action="ADD", bizStep="commissioning", epcList=[epc], eventID=event_id)
    return document(event).decode()


def test_a_merchant_captures_for_what_is_its_own_or_delegated_until_it_is_stopped(
    system: System, captured: list[dict[str, Any]], tmp_path: Path
) -> None:
    before = system.sealed_count()

    def number(*arguments: str) -> str:
        return str(json.loads(ok(system, "merchants", *arguments, "--json"))["merchant"])

    def capture(key: str, epc: str) -> int:
        """The status with which a capture ends: 0, or that of the problem."""
        file = tmp_path / "one.jsonld"
        file.write_text(commissioning(epc, f"urn:uuid:{uuid.uuid4()}"))
        done = system.cli_with({"GOODSTRACE_API_KEY": key}, "capture", "--json", str(file))
        (result,) = json.loads(done.stdout)
        assert done.returncode == (1 if "problem" in result else 0)
        return int(result.get("problem", {}).get("status", 0))

    before = system.sealed_count()
    ann = number("add", "Ann's Tea", "--prefix", "0614141")
    bo = number("add", "Bo packs", "--prefix", "0999999")
    key = ok(system, "merchants", "key", "new", bo, "--label", "line 1").strip()
    own, foreign = "urn:epc:id:sgtin:0999999.107346.1", "urn:epc:id:sgtin:0614141.107346.1"
    assert (capture(key, own), capture(key, foreign), capture("gst_wrong", own)) == (0, 403, 401)
    private, public = tmp_path / "bo.pem", tmp_path / "bo.pub.pem"
    signer = Ed25519PrivateKey.generate()
    private.write_bytes(signer.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(signer.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    ok(system, "merchants", "signing-key", bo, str(public))
    (tmp_path / "two.jsonld").write_text(commissioning(f"{own}0", "urn:uuid:signed"))
    sign = (
        "sign",
        str(tmp_path / "two.jsonld"),
        "--key",
        str(private),
        "--out",
        str(tmp_path / "signed.jsonld"),
    )
    kid = json.loads(ok(system, *sign, "--json"))["kid"]
    with_key = {"GOODSTRACE_API_KEY": key}
    assert system.cli_with(with_key, "capture", str(tmp_path / "signed.jsonld")).returncode == 0
    ok(system, "merchants", "delegate", ann, "--to", bo, "--scope", "0614141", "--days", "1")
    assert capture(key, foreign) == 0
    ok(system, "merchants", "suspend", ann)
    assert capture(key, foreign) == 403
    assert "suspended" in ok(system, "merchants", "list")
    assert "0999999" in ok(system, "merchants", "show", bo)
    ok(system, "merchants", "key", "revoke", bo, key.split("_")[1])
    assert capture(key, own) == 401
    assert "revoked" in ok(system, "merchants", "key", "list", bo)
    assert "0614141 overlaps" in fails(system, "merchants", "add", "Eve", "--prefix", "0614141")
    wrong = tmp_path / "wrong-token"
    wrong.touch(mode=0o600)
    wrong.write_text("wrong")
    unknown = system.cli("merchants", "list", "--operator-token-file", str(wrong))
    assert (unknown.returncode, "401" in unknown.stderr) == (1, True)
    registered = 1 + 2 + 3  # the demo merchant, before that, two merchants, and each change
    system.wait_sealed(before + 3 + registered - 1)
    keys = tmp_path / "merchant-keys.json"
    keys.write_text(json.dumps({bo: [dict(MerchantKey.of(signer.public_key()).jwk)]}))
    traced = json.loads(ok(system, "trace", "--json", "--merchant-keys", str(keys), f"{own}0"))
    assert [each["signed_by"] for each in traced["events"]] == [kid]
    assert "which you were given" in ok(system, "trace", "--merchant-keys", str(keys), f"{own}0")
    by_registration = json.loads(ok(system, "trace", "--json", f"{own}0"))
    (event,) = by_registration["events"]
    place = event["key_registered"]
    assert (event["signed_by"], place["verified"]) == (kid, True)
    assert (
        f"signed: 1 events by merchant {bo} over their exact bytes, key {kid}, registered in {place['log']}[{place['index']}]"
        in ok(system, "trace", f"{own}0")
    )
    every = [
        json.loads(each.parts["registration"]) for each in system.sealed() if "registration" in each.parts
    ]
    told = [each for each in every if each["what"] == "merchant"]  # other tests register goods
    assert len(told) == registered
    newest = {row["_id"]: row["registered"]["content"] for row in system.store["merchants"].find()}
    assert {each["merchant"] for each in told} == newest.keys()
    assert newest[int(ann)]["status"] == "suspended"
    assert all(content in [each["content"] for each in told] for content in newest.values())
    place = next(each for each in system.sealed() if "registration" in each.parts)
    proof = tmp_path / "registration.proof"
    ok(system, "prove", place.log, str(place.index), "--out", str(proof))
    assert "registration" in ok(system, "verify", str(proof), "--vkeys", str(system.key_dir), "--json")


# What needs no service runs in this process: starting Python takes longer than all the rest.


@pytest.mark.parametrize("command", ["capture", "sign", "trace", "browses", "verify", "simulate"])
def test_each_command_explains_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    status, said, _ = inside(capsys, monkeypatch, command, "--help")
    assert (status, "--json" in said) == (0, True)
    assert command in inside(capsys, monkeypatch, "--help")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("capture", "absent.jsonld"), "does not exist"),
        (("capture",), "Missing argument"),
        (("trace",), "Missing argument"),
        (("trace", "--direction", "sideways", "urn:x"), "sideways"),
        (("trace", "--depth", "0", "urn:x"), "0"),
        (("trace", "--as-of", "goods/0", "urn:x"), "LOG=SIZE"),
        (("browses",), "give a KEY"),
        (("simulate", "--depth", "99", "--out", "nowhere"), "99"),
        (("unknown",), "unknown"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_used_wrongly_is_status_2(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    status, out, err = inside(capsys, monkeypatch, *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("trace", "--query", "127.0.0.1:9", "urn:x"),
        ("browses", "--audit", "127.0.0.1:9", "urn:x"),
        ("trace", "--json", "--query", "127.0.0.1:9", "urn:x"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_service_that_is_down_is_one_line(system: System, arguments: tuple[str, ...]) -> None:
    assert "UNAVAILABLE" in fails(system, *arguments)


def test_a_collector_that_is_down_is_one_line(system: System, samples: Path) -> None:
    file = str(min(samples.glob("*.jsonld")))
    assert "UNAVAILABLE" in fails(system, "capture", "--url", "http://127.0.0.1:9", file)


def test_a_key_out_of_its_limits_is_one_line(system: System) -> None:
    for key in ("urn:" + "x" * 5000, ""):
        done = system.cli("trace", key)
        assert (done.returncode, done.stdout) == (2, "")
        assert "a key has 1 to 2048 characters" in done.stderr.splitlines()[-1]


def test_log_keys_that_are_wrong_are_one_line(
    system: System, captured: list[dict[str, Any]], tmp_path: Path
) -> None:
    keys = {file.name: file.read_text() for file in system.key_dir.glob("*.vkey")}
    name = keys["goods-0.vkey"].partition("+")[0]

    def trusting(goods: str | None, folder: str, code: int = 1) -> str:
        (tmp_path / folder).mkdir()
        for file, text in keys.items():
            if file != "goods-0.vkey":
                (tmp_path / folder / file).write_text(text)
        if goods is not None:
            (tmp_path / folder / "goods-0.vkey").write_text(goods)
        memory = str(tmp_path / folder / "memory.json")
        trusted = str(tmp_path / folder)
        return fails(system, "trace", "--log-keys", trusted, "--memory", memory, "urn:x", code=code)

    assert "does not verify" in trusting(Signer(name, bytes(32)).verifier.vkey(), "other")
    malformed = trusting(keys["goods-0.vkey"].replace("A", "B"), "malformed", code=2)
    assert "malformed/goods-0.vkey, line 1" in malformed
    assert "does not verify" not in malformed
    assert "no trusted key for the log 'goods/0'" in trusting(None, "missing")
    assert "no log keys" in fails(system, "trace", "--log-keys", str(tmp_path), "urn:x", code=2)


def test_a_memory_that_cannot_be_read_is_one_line(
    system: System, captured: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "memory.json").write_text("{")
    said = fails(system, "trace", "--memory", str(tmp_path / "memory.json"), "urn:x")
    assert "remembered checkpoints" in said
