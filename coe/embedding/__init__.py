"""Embeddings and reranking: texts to vectors and scores, by the router's encoder."""
