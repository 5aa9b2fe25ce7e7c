"""Files to integer arrays."""
