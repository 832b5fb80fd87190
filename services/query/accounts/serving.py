"""Putting the login together from the query service's neighbours and settings."""

import asyncio
import hashlib
import os
import time
from collections.abc import Awaitable, Callable
from typing import Final

import grpc
import structlog
from fastapi import Request, Response

from goodstrace.query.v1.login_pb2_grpc import (
    add_AccountServiceServicer_to_server as add_accounts,
)
from goodstrace.query.v1.login_pb2_grpc import (
    add_LoginServiceServicer_to_server as add_login,
)
from services.query.accounts.account_service import AccountServicer
from services.query.accounts.account_store import AccountStore
from services.query.accounts.admission import Admission, AdmissionRules
from services.query.accounts.attempts import Attempts
from services.query.accounts.changes import AccountChanges
from services.query.accounts.counters import Counters
from services.query.accounts.errors import KeysError
from services.query.accounts.hashing import Hasher
from services.query.accounts.issuing import Issuing, Lifetimes
from services.query.accounts.key_ring import KeyFiles, KeyRing, configured_files
from services.query.accounts.lockout import Rule
from services.query.accounts.login_service import LoginServicer
from services.query.accounts.metrics import LoginMetrics
from services.query.accounts.new_names import HasLooks, NewNames, looks_in
from services.query.accounts.own_account import OwnAccount
from services.query.accounts.secret_keys import SecretKeys
from services.query.accounts.session_store import SessionStore
from services.query.accounts.signing_in import Codes, SigningIn
from services.query.http_headers import matches
from services.runtime import clock
from services.runtime.access.settings import AccessSettings, LoginSettings, OidcSettings
from services.runtime.grpc import Context
from services.runtime.mongo import Database
from services.runtime.page_tokens import fixed_key
from services.runtime.settings import load, load_secret, refuse
from services.runtime.vault import Vault
from services.sealing.browse import Recorder

JWKS_PATH: Final = "/.well-known/jwks.json"
JWKS_FRESH_S: Final = 60


class Login:
    """LoginService and AccountService, ready to be served."""

    def __init__(
        self,
        database: Database,
        recorder: Recorder,
        settings: LoginSettings,
        *,
        issuer: str,
        secret: bytes,
        files: KeyFiles,
        has_looks: HasLooks,
        provider_host: str,
        is_blocked: Callable[[str], Awaitable[bool]],
        metrics: LoginMetrics,
        log: structlog.stdlib.BoundLogger,
        certificate_names: Callable[[Context], tuple[str, ...]] = lambda _: (),
        now_ms: Callable[[], int] = clock.now_ms,
    ) -> None:
        """Build the parts; `has_looks` says of whom there are records, `provider_host` is the identity provider's ("" for none), `is_blocked` says which networks are blocked. Raises: KeysError."""
        keys, random = SecretKeys(secret), os.urandom
        accounts, sessions = AccountStore(database), SessionStore(database)
        changes = AccountChanges(recorder, has_looks)
        self.attempts = Attempts(recorder, time.monotonic, metrics, log)
        self.ring = KeyRing(files, now_ms, metrics, log)
        self.hasher = Hasher(
            memory_kib=settings.hash_memory_kib,
            passes=settings.hash_passes,
            threads=settings.hash_threads,
            queue=settings.hash_queue,
            metrics=metrics,
        )
        admission = Admission(
            Counters(database),
            keys,
            AdmissionRules(
                lock=Rule(free=settings.free_failures),
                unknown_failures=settings.unknown_failures,
                network_per_minute=settings.network_per_minute,
                challenge_bits=settings.challenge_bits,
            ),
            is_pressed=self.hasher.is_pressed,
            is_blocked=is_blocked,
            random=random,
        )
        codes = Codes(accounts, keys, now_ms)
        lifetimes = Lifetimes(settings.access_s, settings.refresh_s, settings.session_s)
        issuing = Issuing(
            accounts=accounts,
            sessions=sessions,
            ring=self.ring,
            keys=keys,
            attempts=self.attempts,
            issuer=issuer,
            lifetimes=lifetimes,
            now_ms=now_ms,
            random=random,
            metrics=metrics,
        )
        self._signing_in = SigningIn(
            accounts=accounts,
            admission=admission,
            hasher=self.hasher,
            codes=codes,
            issuing=issuing,
            attempts=self.attempts,
            keys=keys,
            now_ms=now_ms,
            random=random,
            log=log,
        )
        own = OwnAccount(
            accounts=accounts,
            sessions=sessions,
            admission=admission,
            hasher=self.hasher,
            codes=codes,
            issuing=issuing,
            keys=keys,
            changes=changes,
            issuer=issuer,
            now_ms=now_ms,
            random=random,
            metrics=metrics,
        )
        self.login = LoginServicer(
            signing_in=self._signing_in,
            issuing=issuing,
            own=own,
            sessions=sessions,
            accounts=accounts,
            ring=self.ring,
            now_ms=now_ms,
            certificate_names=certificate_names,
        )
        self.accounts = AccountServicer(
            accounts,
            sessions,
            self.hasher,
            fixed_key(keys.pages),
            names=NewNames(provider_host, has_looks),
            changes=changes,
            now_ms=now_ms,
            random=random,
            metrics=metrics,
            log=log,
        )

    def add(self, server: grpc.aio.Server) -> None:
        """Add both servicers to a server."""
        add_login(self.login, server)
        add_accounts(self.accounts, server)

    async def jwks(self, request: Request) -> Response:
        """Answer GET and HEAD of JWKS_PATH."""
        body = self.ring.key_set()
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {
            "Cache-Control": f"public, max-age={JWKS_FRESH_S}",
            "ETag": etag,
            "Access-Control-Allow-Origin": "*",
            "X-Content-Type-Options": "nosniff",
        }
        if matches(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/jwk-set+json", headers=headers)

    async def run(self, stop: asyncio.Event) -> None:
        """Do what goes on beside the calls until `stop`: keys are read again, refusals that were joined are recorded."""
        try:
            await asyncio.gather(self.ring.run(stop), self.attempts.run(stop))
            await self._signing_in.finish()
        finally:
            self.hasher.close()

    async def settled(self) -> None:
        """Wait for what is still to be written of attempts that were answered."""
        await self._signing_in.finish()


def login_services(
    database: Database,
    recorder: Recorder,
    vault: Vault,
    *,
    is_blocked: Callable[[str], Awaitable[bool]],
    log: structlog.stdlib.BoundLogger,
    certificate_names: Callable[[Context], tuple[str, ...]] = lambda _: (),
) -> Login:
    """Build the login by the settings of the environment; exits with 2 where its secret or its keys are missing."""
    settings = load(LoginSettings)
    secret = load_secret(settings.secret_file)
    try:
        return Login(
            database,
            recorder,
            settings,
            issuer=load(AccessSettings).accounts_issuer,
            secret=secret,
            files=configured_files(),
            has_looks=looks_in(vault),
            provider_host=load(OidcSettings).host,
            is_blocked=is_blocked,
            metrics=LoginMetrics(),
            log=log,
            certificate_names=certificate_names,
        )
    except KeysError as error:
        refuse(str(error))
