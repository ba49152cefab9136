"""The configuration of a run: its fields, recipes and network."""
