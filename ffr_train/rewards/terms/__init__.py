"""The built-in reward terms, one a module."""
