"""The pages: each draws itself from the current context."""
