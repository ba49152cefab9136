"""Tests, by tier; see conftest.py."""
