"""The runs of the log `index` in MongoDB: how they are laid out, written, merged, read and proved."""
