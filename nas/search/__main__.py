"""`python -m nas.search --budget 4.5GFLOPs`: train a supernet, search it inside the budget, export the winner."""

import sys

from nas.cli.command import Command
from nas.search.command_config import SearchCommandConfig

main = Command(
    SearchCommandConfig,
    "nas.search.several_budgets:run",
    "Train a weight-sharing supernet, search it for the best architecture inside a budget, and write that as YAML.",
    epilog="Run the same command again to continue an interrupted search.",
)

if __name__ == "__main__":
    sys.exit(main())
