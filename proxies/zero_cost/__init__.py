"""Zero-cost scores, one file a family: what a network's initial weights and one batch of images promise, without training.

Every file of this folder is imported, so a new score is one new file: a function under `proxies.zero_cost.registry.register`.
Greater is better in all of them, and they take any `nn.Module` that maps images to logits. They look at the network as if in
evaluation, but for batch norms, which normalise by the batch unless a score says otherwise: before training their running
statistics mean nothing. A norm's scale that starts at zero is taken as one: it makes a branch start as the identity, which
would hide its operators.

No score is to be trusted alone. At equal multiply-adds those known correlate weakly with trained accuracy, some of them
negatively, and differently from one space to the next: they are features and priors, to be audited like any other ranking.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
