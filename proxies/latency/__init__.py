"""Latency on a user's device: parts are measured once, any member of a space is predicted, and the best are measured."""

from proxies.latency.backends import BackendError
from proxies.latency.measure import measure_architecture, measure_architectures
from proxies.latency.record import LatencyError
from proxies.latency.reference_clock import Measured, ReferenceClock
from proxies.latency.table import LatencyTable, estimate_seconds, open_table, read_table, table_path, write_table

__all__ = [
    "BackendError",
    "LatencyError",
    "LatencyTable",
    "Measured",
    "ReferenceClock",
    "estimate_seconds",
    "measure_architecture",
    "measure_architectures",
    "open_table",
    "read_table",
    "table_path",
    "write_table",
]
