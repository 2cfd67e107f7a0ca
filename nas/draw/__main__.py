"""`python -m nas.draw best.yaml -o best.svg`: a drawing of an architecture; see `nas.draw` for what it shows."""

import sys

from nas.cli.command import Command
from nas.draw.config import DrawConfig

main = Command(DrawConfig, "nas.draw.drawing:run_drawing", "Draw an architecture: what its blocks are, and what they cost.")

if __name__ == "__main__":
    sys.exit(main())
