"""`python -m nas.export best.yaml --weights weights.safetensors --format onnx`: a trained network for other people's code.

Without `--format` it writes the architecture itself, such as that of any trial of a search.
"""

import sys

from nas.cli.command import Command
from nas.export.config import ExportConfig

main = Command(
    ExportConfig, "nas.export.pipeline:run_export", "Write a trained network for other people's code, or an architecture."
)

if __name__ == "__main__":
    sys.exit(main())
