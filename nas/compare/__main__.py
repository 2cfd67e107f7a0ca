"""`python -m nas.compare runs/x`: retrain a search's winner, published networks and random ones alike, and test them."""

import sys

from nas.cli.command import Command
from nas.compare.config import CompareConfig

main = Command(
    CompareConfig,
    "nas.compare.pipeline:run_comparison",
    "Retrain a search's winner, or any architecture, the published networks that fit its budget, random ones inside it and the winners of "
    "further searches, all alike, and compare their test accuracies.",
    epilog="Run the same command again to continue an interrupted comparison.",
)

if __name__ == "__main__":
    sys.exit(main())
