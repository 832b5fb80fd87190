"""The web pages: who scans, looks and verifies for themselves. docs/web.md says what they are."""
