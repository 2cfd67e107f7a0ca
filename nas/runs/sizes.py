"""Approximate sizes of the files in a run's directory, in bytes, for dry runs."""

STUDY_BYTES = 13e3
"""Of a trial in the study."""
TABLE_BYTES = 600.0
"""Of a trial in `trials.csv`."""
ARTIFACTS_BYTES = 7e3
"""Of a trial's files for the dashboard."""
YAML_BYTES = 2e3
"""Of an architecture."""
CONFIG_BYTES = 2e3
REPORT_BYTES = 1e6
EXAMPLES_BYTES = 2e5
RESULT_BYTES = 1e3
"""Of a stand-alone training."""
