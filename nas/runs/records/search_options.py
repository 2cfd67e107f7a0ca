"""Which options of a search have an effect only beside others: what a config refuses and a recorded command leaves out."""

OF_WARM_START = frozenset({"weights_folder", "inherited_lr", "freeze_stem", "teacher"})
"""Options without effect where a supernet begins at random."""
OF_TRAINING = frozenset({"steps", "batch_size", "lr", "paths", "scope", "warm_start", *OF_WARM_START})
"""Options without effect where no supernet is trained."""
OF_SUPERNET = frozenset({"race", "subtract_bias", "supernet"})
"""Options without effect where no supernet judges."""
