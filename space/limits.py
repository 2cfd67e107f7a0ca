"""Largest networks that a file may describe: far above any published one, low enough that a mistyped number cannot fill the memory."""

MIN_IMAGE_SIZE = 32
MAX_IMAGE_SIZE = 4096
MAX_WIDTH = 8192
MAX_BLOCKS = 128
"""Blocks of a stage."""
MAX_CLASSES = 100_000
MAX_MAP = 2**28
"""Elements of one image's feature map: 1 GiB in single precision, four times UniFormer's first map at 4096 px."""
MAX_PARAMS = 10**10
"""Parameters of a network, or of a space's shared weights: 40 GB in single precision, three times the largest Swin Transformer."""
MAX_CHOICES = 1000
"""Mixers, or operators of another kind, that a stage of a space offers."""
MAX_WIDTHS = 128
"""Widths that a stage of a space offers. Each is checked with every mixer."""
