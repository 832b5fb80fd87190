"""Accounts and sign-in: LoginService and AccountService, and what they keep. docs/accounts.md, docs/decisions/0032-accounts.md."""
