"""dex, an identity provider of other people (github.com/dexidp/dex), run as a process for tests: users and clients that are written down."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

from deploy.processes import HOST, Daemon, free_port
from tests.deadlines import DEADLINE_S
from tests.go_programs import DEX

PASSWORD = "password"
_HASH = "$2a$10$2b2cU8CPhOTaGrs1HRQuAueS7JTT5ZHsHSzYiFPm1leZck7Mc8T4W"  # of it, by bcrypt
SECRET = "a client's secret"
CALLBACK = "http://127.0.0.1:5555/callback"  # nobody listens there: the browser's way ends before it
SCOPES = "openid profile email groups"


class Dex:
    """One provider with keys in memory: started again it has new ones. A context manager: starts, stops.

    Args:
        folder: its configuration and log go here.
        users: the groups of each user, whose password is PASSWORD.
        clients: the IDs of the clients, whose secret is SECRET.
        life_s: how long its tokens count.
    """

    def __init__(
        self, folder: Path, users: dict[str, list[str]], clients: tuple[str, ...], *, life_s: int = 60
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.issuer = f"http://{HOST}:{port}/dex"
        (folder / "dex.json").write_text(json.dumps(_configuration(self.issuer, users, clients, life_s)))
        self._daemon = Daemon(
            name="dex",
            command=[str(DEX.build()), "serve", str(folder / "dex.json")],
            run_dir=folder,
            ports=(port,),
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start it, or start it again with new keys; return when it answers."""
        self._daemon.start()
        self._daemon.wait_ready(self._not_ready, DEADLINE_S)
        return self

    def stop(self) -> None:
        """Stop it."""
        self._daemon.kill()

    def by_password(self, user: str, client: str, scopes: str = SCOPES) -> dict[str, Any]:
        """Get the tokens of a user by the password grant (RFC 6749 section 4.3)."""
        return self._tokens(
            client, {"grant_type": "password", "username": user, "password": PASSWORD, "scope": scopes}
        )

    def by_code(self, user: str, client: str) -> dict[str, Any]:
        """Get the tokens of a user as a browser does: by a code, which the user's sign-in gives (RFC 6749 section 4.1)."""
        asked = {"client_id": client, "redirect_uri": CALLBACK, "response_type": "code", "scope": SCOPES}
        with httpx.Client() as browser:
            answer = browser.get(f"{self.issuer}/auth/local", params={**asked, "state": "a state"})
            answer = browser.get(urljoin(str(answer.url), answer.headers["Location"]))
            found = re.search(r'<form method="post" action="([^"]*)"', answer.text)
            assert found is not None, answer.text
            answer = browser.post(
                urljoin(str(answer.url), unescape(found[1])), data={"login": user, "password": PASSWORD}
            )
            while not (place := urljoin(str(answer.url), answer.headers["Location"])).startswith(CALLBACK):
                answer = browser.get(place)
        told = parse_qs(urlsplit(place).query)
        assert told["state"] == ["a state"]
        return self._tokens(
            client,
            {"grant_type": "authorization_code", "code": told["code"][0], "redirect_uri": CALLBACK},
        )

    def _tokens(self, client: str, form: dict[str, str]) -> dict[str, Any]:
        answer = httpx.post(f"{self.issuer}/token", data=form, auth=(client, SECRET))
        assert answer.status_code == httpx.codes.OK, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def _not_ready(self) -> str:
        try:
            return "" if httpx.get(f"{self.issuer}/keys").is_success else "it has no keys yet"
        except httpx.HTTPError as error:
            return str(error)


def _configuration(
    issuer: str, users: dict[str, list[str]], clients: tuple[str, ...], life_s: int
) -> dict[str, Any]:
    return {
        "issuer": issuer,
        "storage": {"type": "memory"},
        "web": {"http": urlsplit(issuer).netloc},
        "oauth2": {
            "skipApprovalScreen": True,
            "passwordConnector": "local",
            "grantTypes": ["password", "authorization_code"],
        },
        "expiry": {"idTokens": f"{life_s}s"},
        "staticClients": [
            {"id": client, "name": client, "secret": SECRET, "redirectURIs": [CALLBACK]} for client in clients
        ],
        "enablePasswordDB": True,
        "staticPasswords": [
            {
                "email": user,
                "hash": _HASH,
                "username": user,
                "preferredUsername": user.partition("@")[0],
                "userID": user,
                "emailVerified": True,
                "groups": groups,
            }
            for user, groups in users.items()
        ],
    }
