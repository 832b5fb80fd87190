"""Settings of the web pages: `GOODSTRACE_QUERY_WEB_...`."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from goodstrace.errors import PolicyError
from goodstrace.policy import Policy
from services.runtime.errors import SettingsError


class WebSettings(BaseSettings):
    """How the pages answer.

    public_trace: whether who is not signed in sees the trace too, as far as merchants' policies make it public; else only the public face.
    looks_per_min: how many pages about goods one network (IPv4 /24, IPv6 /48) that is not signed in gets a minute, in bursts of as many.
    events_on_page: how many events stand on a page; others are on the next ones. depth: how many levels are shown without being asked for.
    timeout_s: how long a page may take. policy: a C2SP tlog-policy file, whose witnesses' cosignatures the browser checks, too; none without.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_QUERY_WEB_")

    public_trace: bool = False
    looks_per_min: int = Field(60, ge=1, le=100_000)
    events_on_page: int = Field(40, ge=1, le=200)
    depth: int = Field(3, ge=1, le=20)
    timeout_s: float = Field(20, gt=0, le=600)
    policy: Path | None = None

    def witnesses(self) -> tuple[str, ...]:
        """Read the keys of the policy's witnesses. Raises: SettingsError where it cannot be read."""
        if self.policy is None:
            return ()
        try:
            found = Policy.parse(self.policy.read_bytes())
        except (OSError, PolicyError) as error:
            raise SettingsError(f"GOODSTRACE_QUERY_WEB_POLICY: cannot read {self.policy}: {error}") from error
        return tuple(each.verifier.vkey() for each in found.witnesses)
