"""Heads: feature maps (B, H, W, C) to logits. Every file of this folder is imported, so a new head is one new file.

The trait `task` of a head's registration says what its logits are of: "classification", (B, classes), or "segmentation",
(B, H, W, classes) at the stride of the first map that it combines.

A head of one map takes the network's last one. A head of several maps has a static method `taps(shapes, **options)`: what it does to
each of the network's feature maps by itself, before it combines them. Taps are operators of their own (`space.taps`), so that each
one's cost depends on few widths, and the head's on none.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
