"""Token mixers, one file each: (B, H, W, C) -> (B, H, W, C), for any height and width.

Every file of this folder is imported, so a new mixer is one new file. It registers one module for which leading slices of a wide
mixer's tensors are a narrow mixer. So query, key and value have weights of their own (a fused weight has no such slice). The trait
`norm` is the mixer's native pre-norm.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
