"""The arena: people compare the fragments of two or more models without knowing whose they are."""
