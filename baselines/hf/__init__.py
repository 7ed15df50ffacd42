"""Generative baselines with transformers, in this process."""
