"""Baseline models for fragment retrieval and the runner that turns them into run folders."""
