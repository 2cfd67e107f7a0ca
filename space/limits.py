"""How large a network that a file describes may be: far above any published one, low enough that no mistyped number fills the memory."""

MIN_IMAGE_SIZE = 32
MAX_IMAGE_SIZE = 4096
MAX_WIDTH = 8192
MAX_BLOCKS = 128
"""In a stage."""
MAX_CLASSES = 100_000
MAX_MAP = 2**28
"""Numbers in a map of one image: 1 GiB in single precision, four times UniFormer's first one at 4096 px."""
MAX_PARAMS = 10**10
"""Of a network, or of a space's shared weights: 40 GB in single precision, three times the largest Swin Transformer."""
MAX_CHOICES = 1000
"""Of mixers, or of another kind of operator, in a stage of a space."""
MAX_WIDTHS = 128
"""To choose from in a stage of a space: every one is tried with every mixer."""
