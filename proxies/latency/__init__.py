"""Latency on a user's device: measured part by part once, predicted for every member of a space, measured again for what is kept."""

from proxies.latency.measure import measure_architecture, measure_architectures
from proxies.latency.pace import Measured, Pace
from proxies.latency.table import LatencyError, LatencyTable, estimate_seconds, open_table, read_table, table_path, write_table

__all__ = [
    "LatencyError",
    "LatencyTable",
    "Measured",
    "Pace",
    "estimate_seconds",
    "measure_architecture",
    "measure_architectures",
    "open_table",
    "read_table",
    "table_path",
    "write_table",
]
