"""Builds the charting library that reports carry: the used part of Apache ECharts, from npm."""
