"""The trainer. Entry point: main.py."""
