"""MovieLens releases and catalogues: read, encoded, split."""
