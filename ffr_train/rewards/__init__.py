"""Rewards for training: the metrics as terms, in profiles, for every trainer.

>>> from ffr_train.rewards import Batch, score
>>> gold = "<|utt_ids_start|>[1, 2]<|utt_ids_end|>;<|img_ids_start|>[]<|img_ids_end|>"
>>> score(Batch([gold], [gold]), "fixed", ["format", "f1"]).to_dicts()
[{'format': 1.0, 'f1': 1.0, 'total': 1.3}]
"""

from ffr_train.rewards.batch import Batch, DialogueIds
from ffr_train.rewards.embeddings import DialogueEmbeddings, embeddings_of, read_embeddings
from ffr_train.rewards.profile import DEFAULT, PROFILES, Profile, read_profile
from ffr_train.rewards.registry import Term, term_named, term_names
from ffr_train.rewards.scoring import Rewards, score

__all__ = [
    "DEFAULT",
    "PROFILES",
    "Batch",
    "DialogueEmbeddings",
    "DialogueIds",
    "Profile",
    "Rewards",
    "Term",
    "embeddings_of",
    "read_embeddings",
    "read_profile",
    "score",
    "term_named",
    "term_names",
]
