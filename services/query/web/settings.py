"""Settings of the web pages: `GOODSTRACE_QUERY_WEB_...`."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class WebSettings(BaseSettings):
    """How the pages answer.

    public_trace: whether who is not signed in sees the trace too, as far as merchants' policies make it public; else only the public face.
    looks_per_min: how many pages about goods one network (IPv4 /24, IPv6 /48) that is not signed in gets a minute, in bursts of as many.
    events_on_page: how many events stand on a page; others are on the next ones. depth: how many levels are shown without being asked for.
    timeout_s: how long a page may take.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_QUERY_WEB_")

    public_trace: bool = False
    looks_per_min: int = Field(60, ge=1, le=100_000)
    events_on_page: int = Field(40, ge=1, le=200)
    depth: int = Field(3, ge=1, le=20)
    timeout_s: float = Field(20, gt=0, le=600)
