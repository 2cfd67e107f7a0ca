"""Which options of a search have an effect only beside others: what a config refuses and a recorded command leaves out."""

OF_TRAINING = frozenset({"steps", "batch_size", "lr", "paths", "scope", "warm_start"})
"""Options without effect where no supernet is trained."""
OF_SUPERNET = frozenset({"race", "subtract_bias", "supernet"})
"""Options without effect where no supernet judges."""
