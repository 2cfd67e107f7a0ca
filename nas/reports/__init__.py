"""A search's report: what its directory holds, as one HTML page for people who were not there."""

from __future__ import annotations

from nas.reports.page import write_report

__all__ = ["write_report"]
