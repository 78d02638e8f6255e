"""The report: one HTML file that a browser shows without a network. docs/report.md describes it."""
