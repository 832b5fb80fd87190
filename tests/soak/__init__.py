"""Long campaigns: `make soak`. Not part of `make test`."""
