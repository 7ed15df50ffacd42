"""Models that answer in text: prompts, windows over long dialogues, and engines that complete."""
