"""Sweeps: populations of networks, sampled and trained."""
