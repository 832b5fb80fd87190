"""The watch: counts looks in windows of event time, and says where they look like an attack; a process of its own, on Faust."""
