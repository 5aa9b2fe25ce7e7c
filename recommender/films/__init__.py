"""Films as people write them: titles, and the exports of other services."""
