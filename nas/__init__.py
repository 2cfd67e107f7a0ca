"""What a user does: search, train, retrain, compare, audit, export."""

__version__ = "0.1.0"
