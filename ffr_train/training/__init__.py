"""Training on TRL: supervised fine-tuning, GRPO, and what comes after."""
