"""The rating model: predicted stars."""
