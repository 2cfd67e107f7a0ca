"""`python -m nas.latency kit`, `import`, `verify`: latencies of a device that cannot run this package."""

import sys

from nas.cli.command import Command, CommandGroup
from nas.latency.config import ImportConfig, KitConfig, VerifyConfig

main = CommandGroup(
    "Latencies of another device or runtime: write a kit, measure it there, import what it says.",
    Command(KitConfig, "nas.latency.kit:run_kit", "Write a folder that measures a space's latencies on any device.", word="kit"),
    Command(ImportConfig, "nas.latency.importing:run_import", "Import the latencies that a kit measured on a device.", word="import"),
    Command(VerifyConfig, "nas.latency.verification:run_verify", "Write a kit that measures what a search has found.", word="verify"),
)

if __name__ == "__main__":
    sys.exit(main())
