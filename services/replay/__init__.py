"""`goodstrace replay`: Kafka read again, to compare it with the logs, to rebuild them, or to run the stages of today.

Not a service but an operator's tool that puts the pure stages of the collector and the sealer together
(docs/decisions/0013-replay.md); nothing imports it.
"""
