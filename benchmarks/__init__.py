"""How fast, and how exact, beside what others offer: `python -m benchmarks`."""
