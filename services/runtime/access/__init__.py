"""Access: who calls, and what they may do. The one part of the system that decides it, for every port of every service."""
