"""What there is to measure: `catalog` has the suites by name."""
