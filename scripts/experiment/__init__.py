"""The training experiment: ``scripts/training_experiment.py``."""
