"""`python -m nas.retrain best.yaml --data ...`: train an architecture as a network of its own and measure it on test images."""

import sys

from nas.cli.command import Command
from nas.retrain.config import RetrainConfig

main = Command(
    RetrainConfig,
    "nas.retrain.pipeline:run_retraining",
    "Train an architecture as a network of its own, and measure it on test images.",
    epilog="Run the same command again to continue an interrupted training.",
    on_several_gpus=True,
)

if __name__ == "__main__":
    sys.exit(main())
