"""Who is who: merchants as they are registered, and the judgement of their API keys, for every service that asks."""
