"""The published site: its tables, its manifest, and reading it."""
