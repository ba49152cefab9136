"""Runs suites of benchmark cases; knows nothing of what they compute."""
