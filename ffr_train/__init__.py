"""Training for fragment retrieval: rewards, supervised fine-tuning, GRPO and curriculum."""
