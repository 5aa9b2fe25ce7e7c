"""The taste model: likely picks."""
