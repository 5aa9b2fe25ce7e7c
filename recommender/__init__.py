"""A movie recommender: a two-tower model trained with PaddlePaddle, searched with Milvus."""
