"""What to learn first: levels of difficulty, the order of training, and pilot rollouts."""
