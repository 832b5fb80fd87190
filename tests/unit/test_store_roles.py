"""Roles of MongoDB, as values: what is sealed can be added to and not changed, and the vault is open to who records looks alone."""

import json
import re

from tools.kubernetes.mongodb import role_objects
from tools.kubernetes.processes import EVERYTHING
from tools.kubernetes.roles import ALL, READS_ALL, ROLES, VAULT
from tools.made_files import ROOT

DATA = {"find", "insert", "update", "remove", "createIndex"}


def test_nobody_changes_or_deletes_what_is_sealed() -> None:
    for role in ROLES:
        for database, collection, actions in role.privileges():
            if collection == "blocks":
                assert not {"update", "remove"} & set(actions), role.name
            if collection in ("checkpoints", "logs", "tiles", "heads", "pins"):
                assert "remove" not in actions, role.name
            if collection == "packs":
                assert "update" not in actions
                assert "remove" not in actions or role.user in ("ledger", "audit")
            if role.user == "operator":
                assert set(actions) <= {*READS_ALL, "dbStats"} or collection == "operations"
                continue
            assert set(actions) <= DATA, role.name
            assert collection != ALL, "a role for all collections is no least privilege"
            assert database in ("", VAULT)


def test_only_who_seals_adds_to_the_logs() -> None:
    sealing = {role.user for role in ROLES if "insert" in role.own.get("blocks", ())}
    assert sealing == {"ledger", "audit"}


def test_the_vault_is_for_who_records_looks() -> None:
    reading = {role.user for role in ROLES if any("find" in actions for actions in role.vault.values())}
    assert reading == {"collector", "query", "audit", "operator"}, "who records looks, and who copies it"
    assert all("remove" not in role.vault.get("vault_keys", ()) for role in ROLES), "erasing is an operator's"


def test_every_process_has_a_role_and_both_ways_to_make_it_say_the_same() -> None:
    assert {role.user for role in ROLES} == {process.name for process in EVERYTHING}
    text = (ROOT / "deploy/mongodb/roles.js").read_text()
    found = re.search(r"^const roles = (\[.*?^\]);", text, re.DOTALL | re.MULTILINE)
    assert found
    told = {each["role"]: each["privileges"] for each in json.loads(found[1])}
    for role in ROLES:
        theirs = [privilege for each in role_objects(role) for privilege in each["privileges"]]
        assert [each["resource"]["db"] for each in theirs] == [
            {"own": "goodstrace", "vault": "goodstrace_vault"}[each["database"]] for each in told[role.name]
        ]
        assert [(each["collection"], each["actions"]) for each in told[role.name]] == [
            (each["resource"]["collection"], each["actions"]) for each in theirs
        ]
        assert {each["resource"]["db"] for each in theirs} <= {"goodstrace", "goodstrace_vault"}
