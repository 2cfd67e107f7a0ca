"""`python -m nas.train --budget 4.5GFLOPs --paths fair`: train a supernet alone; a search in the same run directory then uses it."""

import sys

from nas.cli.command import Command
from nas.train.config import TrainingConfig

main = Command(
    TrainingConfig,
    "nas.train.training:run_training",
    "Train a weight-sharing supernet; nas.search with the same options then searches it.",
    epilog="Run the same command again to continue an interrupted training.",
    on_several_gpus=True,
)

if __name__ == "__main__":
    sys.exit(main())
