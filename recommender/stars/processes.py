"""The device, and the processes of `paddle.distributed.launch`."""

from recommender.errors import RecommenderError
from recommender.evaluation.metrics import RatingMetrics
from recommender.paddle_setup import distributed, paddle


class TrainingError(RecommenderError):
    """Training cannot start or go on."""


def init_device(device: str) -> int:
    """Selects `cpu` or `gpu`, and joins the processes of `paddle.distributed.launch`, if any.

    Returns:
        This process' rank. Rank 0 does what is done once, and then calls `barrier`.

    Raises:
        TrainingError: This build of Paddle has no GPU support.
    """
    if device == "gpu" and not paddle.is_compiled_with_cuda():
        raise TrainingError("this paddlepaddle has no GPU support; install paddlepaddle-gpu or use --device cpu")
    paddle.set_device(device)
    if distributed.get_world_size() > 1:
        distributed.init_parallel_env()
    return int(distributed.get_rank())


def barrier() -> None:
    """Waits for all processes of `paddle.distributed.launch`."""
    if distributed.get_world_size() > 1:
        distributed.barrier()


def mean_over_processes(metrics: RatingMetrics) -> RatingMetrics:
    """Returns the same metrics in every process, so that all stop after the same epoch."""
    if distributed.get_world_size() == 1:
        return metrics
    total = paddle.to_tensor(metrics, dtype="float64")
    distributed.all_reduce(total)
    return RatingMetrics(*(total / distributed.get_world_size()).tolist())
