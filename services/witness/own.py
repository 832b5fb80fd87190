"""Witnesses of one's own, to see how witnessing works: their keys, and the policy by which more than half of them must cosign.

Run by the people who run the logs they show nothing to anybody: docs/witnesses.md says who should run a real one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from services.witness.keys import Folder, open_folder

MOST: Final = 9
NUMBER: Final = "NUMBER"
"""Stands for a witness's number in the URLs of all of them."""


def make_own(folder: Path, count: int) -> list[str]:
    """Make the folders `0` to `count - 1` of witnesses in a folder, with a key each; what is there already stays.

    Returns: their public keys, as vkeys.
    Raises: WitnessKeyError, StoreError.
    """
    vkeys = []
    for number in range(count):
        cosigner, store = open_folder(Folder(folder / str(number)), f"witness.local/{number}")
        store.close()
        vkeys.append(cosigner.verifier.vkey())
    return vkeys


def policy_text(vkeys: Sequence[str], urls: Sequence[str]) -> str:
    """Write the tlog-policy by which more than half of these witnesses, each at its URL, must cosign."""
    lines = [
        f"witness local-{number} {vkey} {url}\n"
        for number, (vkey, url) in enumerate(zip(vkeys, urls, strict=True))
    ]
    names = " ".join(f"local-{number}" for number in range(len(vkeys)))
    return "".join(lines) + f"group most {len(vkeys) // 2 + 1} {names}\nquorum most\n"
