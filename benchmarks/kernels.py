"""Slow kernels of Paddle on a CPU, beside what does the same: milliseconds, forward and backward.

python benchmarks/kernels.py
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from machine import print_machine

from recommender.models.paddle_setup import F, paddle

TURNS = 20


def main() -> None:
    """Prints a line a pair."""
    print_machine("paddlepaddle")
    paddle.seed(0)
    scores, vectors = paddle.randn([256, 3706]), paddle.randn([8192, 200])
    pairs: dict[str, tuple[paddle.Tensor, Callable[..., paddle.Tensor], Callable[..., paddle.Tensor]]] = {
        "F.log_softmax / log of F.softmax": (scores, F.log_softmax, lambda x: paddle.log(F.softmax(x))),
        "F.normalize / x * rsqrt(sum(x²))": (
            vectors,
            F.normalize,
            lambda x: x * paddle.rsqrt(paddle.square(x).sum(-1, keepdim=True)),
        ),
        "x * expand_as / x * broadcast": (
            vectors,
            lambda x: x * x.sum(-1, keepdim=True).expand_as(x),
            lambda x: x * x.sum(-1, keepdim=True),
        ),
    }
    for name, (values, *kernels) in pairs.items():
        times: list[list[float]] = [[] for _ in kernels]
        for _ in range(TURNS):
            for kernel, mine in zip(kernels, times, strict=True):
                values.stop_gradient = False
                started = time.perf_counter()
                kernel(values).sum().backward()
                mine.append(1000 * (time.perf_counter() - started))
        slow, fast = map(statistics.median, times)
        print(f"{name:<36}{slow:>8.1f} ms{fast:>8.1f} ms   {slow / fast:.1f} times")


if __name__ == "__main__":
    main()
