"""What the processes of benchmark cases compute; see `harness.worker`."""
