"""A movie recommender: two small models trained with PaddlePaddle, searched with Milvus."""

from typing import Any

__all__ = ["Recommender"]


def __getattr__(name: str) -> Any:
    """Imports `Recommender` on first use (PEP 562), so that `import recommender.cli` loads nothing heavy."""
    if name == "Recommender":
        from recommender.api import Recommender

        return Recommender
    raise AttributeError(f"module 'recommender' has no attribute {name!r}")
