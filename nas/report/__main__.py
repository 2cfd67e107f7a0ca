"""`python -m nas.report runs/x`: what a search found, and how far to trust that, as one HTML page."""

import sys

from nas.cli.command import Command
from nas.report.config import ReportConfig

main = Command(
    ReportConfig,
    "nas.report.pipeline:run_report",
    "Write RUN/report.html: what a search found, which mixers won where, and how far that can be trusted.",
    epilog="The page is one file that loads nothing. nas.audit and nas.compare add to what it can tell.",
)

if __name__ == "__main__":
    sys.exit(main())
