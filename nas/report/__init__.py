"""A search's report: what its directory holds, as one HTML page for people who were not there."""

FILE = "report.html"
