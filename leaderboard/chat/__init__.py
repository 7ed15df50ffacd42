"""Components that draw dialogues and prompts: all text of others as text, never as HTML."""
