"""Settings of access, the same for every service of one installation: `GOODSTRACE_ACCOUNTS...`, `GOODSTRACE_OIDC_...`."""

from ipaddress import ip_network
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LOOPBACK_HOSTS: Final = ("127.0.0.1", "::1", "localhost")


class AccessSettings(BaseSettings):
    """Whether callers must say who they are, and whose tokens count.

    accounts: "required", or "off": everybody may do everything, which is for loopback addresses only. accounts_issuer: the issuer of
    our own access tokens, which is also their audience. accounts_jwks: a path or an https address where the public keys are by which they
    are verified; the query service writes that file. access_fresh_s: how long it takes at most until what was revoked does not count
    anywhere; access_stale_s: how much longer captures by whoever was known go on while the store does not answer. trusted_proxies: networks of
    proxies whose `x-forwarded-for` is believed, separated by commas.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_")

    accounts: Literal["required", "off"] = "required"
    accounts_issuer: str = Field("goodstrace.local", min_length=1, max_length=200)
    accounts_jwks: str = "run/keys/login/jwks.json"
    access_fresh_s: float = Field(2, ge=0.1, le=60)
    access_stale_s: float = Field(300, ge=0, le=86400)
    trusted_proxies: str = ""

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        for each in text.split(","):
            if each.strip():
                ip_network(each.strip())
        return text


class OidcSettings(BaseSettings):
    """The platform's own identity provider; no tokens of it are taken without an issuer.

    issuer, audience: those that its tokens name. jwks: a path or an https address of its keys; empty: found by the issuer's
    `/.well-known/openid-configuration`. roles_claim: the claim that lists roles or groups; roles: which of its values are which role, as
    "value=role,value=role"; a token whose values give none is a shopper's where `shoppers` says so. merchant_claim: the claim with a merchant's number,
    for the role `merchant`. Both claims may lie deeper: `realm_access.roles`. clients: where set, the client IDs, comma between, to which a token
    must have been given. skew_s: how far clocks may differ.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_OIDC_")

    issuer: str = ""
    audience: str = ""
    jwks: str = ""
    roles_claim: str = Field("groups", min_length=1, max_length=100)
    roles: str = "shopper=shopper,merchant=merchant,auditor=auditor,operator=operator,platform=platform"
    shoppers: bool = False
    merchant_claim: str = Field("merchant", min_length=1, max_length=100)
    clients: str = ""
    skew_s: int = Field(30, ge=0, le=300)

    @property
    def host(self) -> str:
        """The host of the issuer, with which the names of those end who show its tokens (`<subject>@<host>`); "" without an issuer."""
        return urlsplit(self.issuer).netloc.rpartition("@")[2]


class LoginSettings(BaseSettings):
    """How the query service signs people in: `GOODSTRACE_LOGIN_...`.

    key_dir: the private keys that sign access tokens, one file each, with jwks.json of the public ones beside them. access_s: how long an
    access token counts; refresh_s: how long a session lasts without being used, session_s: at the most.

    secret_file: 32 random bytes as hex, the same for every query process: from it come the keys that encrypt TOTP secrets and the
    signing secrets of webhooks, and sign challenges and device tokens. Webhooks want it also where accounts are off.

    hash_threads passwords are hashed at a time, hash_queue wait; each takes hash_memory_kib KiB and hash_passes passes (argon2id). After
    free_failures in a row an account is locked for one network; over unknown_failures in 15 minutes devices that the account does not know, and a network
    over network_per_minute attempts, must work for each attempt: 2^challenge_bits hashes and up to 16 times as many.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_LOGIN_")

    key_dir: Path = Path("run/keys/login")
    access_s: int = Field(300, ge=30, le=3600)
    refresh_s: int = Field(14 * 86400, ge=60, le=90 * 86400)
    session_s: int = Field(30 * 86400, ge=60, le=366 * 86400)
    secret_file: Path = Path("run/keys/login-secret")
    hash_threads: int = Field(2, ge=1, le=64)
    hash_queue: int = Field(64, ge=1, le=4096)
    hash_memory_kib: int = Field(19_456, ge=8, le=2**20)
    hash_passes: int = Field(2, ge=1, le=16)
    free_failures: int = Field(5, ge=3, le=100)
    unknown_failures: int = Field(20, ge=5, le=10_000)
    network_per_minute: int = Field(60, ge=1, le=100_000)
    challenge_bits: int = Field(18, ge=1, le=28)
