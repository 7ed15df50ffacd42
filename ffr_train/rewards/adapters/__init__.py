"""One module a trainer: its interface over :class:`ffr_train.rewards.columns.TrainerReward`.

TRL and verl decode completions without special tokens: the markers of the answer must be plain
text, or added tokens with ``special=False``; else no completion ever parses.
"""
