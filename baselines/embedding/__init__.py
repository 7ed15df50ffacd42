"""Models that compare embeddings, and the filling of the embedding store."""
