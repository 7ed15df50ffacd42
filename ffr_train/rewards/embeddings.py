"""Vectors of a dialogue, under the names that rewards know them by."""

from ffr_eval.embeddings.dialogue_vectors import (
    QUERY_KEY,
    DialogueEmbeddings,
    Vectors,
    embeddings_of,
    read_embeddings,
)

__all__ = ["QUERY_KEY", "DialogueEmbeddings", "Vectors", "embeddings_of", "read_embeddings"]
