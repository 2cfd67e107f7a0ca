"""`python -m nas.audit --run runs/x`: train a sample of architectures alone, and see how well the run's supernet ranks them."""

import sys

from nas.audit.config import AuditConfig
from nas.cli.command import Command

main = Command(
    AuditConfig,
    "nas.audit.pipeline:run_audit",
    "Train a sample of architectures alone, and report how well a run's supernet and cheaper scores rank them.",
    epilog="Run the same command again to continue an interrupted audit.",
)

if __name__ == "__main__":
    sys.exit(main())
