"""A service as the local stack sees one: `/readyz` answers 503 at first and 200 once it was asked twice.

Run as `python -m tests.integration.sample_service`; with `SAMPLE_FAILS` set it ends at once with status 3.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Ready(BaseHTTPRequestHandler):
    """Answers `/readyz`."""

    asked = 0

    def do_GET(self) -> None:
        """Count the question and answer it."""
        type(self).asked += 1
        self.send_response(200 if self.asked > 2 else 503)
        self.end_headers()
        self.wfile.write(b"still warming up")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""


if __name__ == "__main__":
    if os.environ.get("SAMPLE_FAILS"):
        sys.exit("the sample was told to fail")
    port = next(value for name, value in os.environ.items() if name.startswith("GOODSTRACE_SAMPLE"))
    HTTPServer(("127.0.0.1", int(port)), Ready).serve_forever()
