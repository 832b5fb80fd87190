"""`goodstrace backup` and `goodstrace restore`: copies of a store that are verified when they are made, and again when they are put back."""
