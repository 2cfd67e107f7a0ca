"""The torch modules that an architecture names: one file per kind of operator, one per mixer."""
