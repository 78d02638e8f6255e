"""The report: one HTML file that a browser shows without a network. docs/user/report.md describes it."""
