"""The index witness: makes the runs of the log `index` again from the logs' entries and tags, and cosigns it only where they are the same."""
