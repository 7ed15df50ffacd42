"""Generative baselines with vLLM's offline engine."""
