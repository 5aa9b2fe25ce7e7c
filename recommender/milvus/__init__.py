"""The movie collection in Milvus."""
