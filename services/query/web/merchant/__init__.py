"""The pages of merchants: their goods, what was noticed in their events, recalls, registrations, people, labels, and who looked."""
