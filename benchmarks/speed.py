"""Prints the training speed of one program in ratings per second; `training.py speed` runs it for its table.

    python benchmarks/speed.py paddle data/ml-1m 8120

`paddle` and `torch` are the original's model as their books would have it: padded titles, both towers once per rating.
A process holds one framework only, as two would share an OpenMP runtime.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import numpy as np
from loader import test_split

from recommender.movielens.encoding import DEMOGRAPHIC_SIZES, NUM_RESERVED
from recommender.movielens.releases import read_movielens
from recommender.movielens.split import Split

WARM_UP_SECONDS, SECONDS = 1.0, 4.0
WIDTHS = (32, 16, 16, 16)
Step = Callable[[np.ndarray], object]
"""Takes one step on some rows of the training ratings."""


def create_plain_step(framework: str, split: Split) -> Step:
    """Returns the step of the plain model: the two frameworks name its layers almost alike."""
    api: Any
    if framework == "torch":
        import torch as api

        api.set_num_threads(int(machine.os.environ["OMP_NUM_THREADS"]))
        to_tensor, concat, conv, module_list = api.from_numpy, api.cat, api.nn.Conv1d, api.nn.ModuleList
    else:
        from recommender.stars.paddle_setup import paddle as api

        to_tensor, concat, conv, module_list = api.to_tensor, api.concat, api.nn.Conv1D, api.nn.LayerList
    nn = api.nn
    vocabularies, sizes = split.vocabularies, (NUM_RESERVED + split.train.num_users, *DEMOGRAPHIC_SIZES)
    tables = module_list([nn.Embedding(*shape) for shape in zip(sizes, WIDTHS, strict=True)])
    linear = module_list([nn.Linear(width, width) for width in WIDTHS])
    movie = nn.Embedding(vocabularies.movies.size, 32)
    genre, word = (nn.Embedding(own.size, 32, padding_idx=0) for own in (vocabularies.genres, vocabularies.words))
    movie_linear, convolution = nn.Linear(32, 32), conv(32, 32, 3, padding=1)
    user_output, movie_output = nn.Linear(80, 200), nn.Linear(96, 200)
    layers = [tables, linear, movie, genre, word, movie_linear, convolution, user_output, movie_output]
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    adam = api.optim.Adam if framework == "torch" else api.optimizer.Adam
    optimizer = adam(parameters=parameters) if framework == "paddle" else adam(parameters)

    def step(rows: np.ndarray) -> None:
        ratings = split.train.ratings.select(rows)
        profiles = to_tensor(split.train.profiles[ratings.profile_row])
        movie_idx, genre_idx, word_idx = map(to_tensor, split.train.movies.select(ratings.movie_row))
        parts = [layer(table(profiles[:, i])) for i, (table, layer) in enumerate(zip(tables, linear, strict=True))]
        user = api.tanh(user_output(concat(parts, 1)))
        title = api.tanh(convolution(word(word_idx).mT)).sum(2)
        parts = [movie_linear(movie(movie_idx)), genre(genre_idx).sum(1), title]
        predicted = 5 * nn.functional.cosine_similarity(user, api.tanh(movie_output(concat(parts, 1))), 1)
        loss = nn.functional.mse_loss(predicted, to_tensor(ratings.rating.astype(np.float32)))
        loss.item()
        loss.backward()
        optimizer.step()
        (optimizer.zero_grad if framework == "torch" else optimizer.clear_grad)()

    return step


def create_project_step(split: Split) -> Step:
    """Returns the step of this project, on the ratings themselves."""
    from recommender.stars.fusion import FusionModel
    from recommender.stars.fusion_training import FusionConfig, create_optimizer, draw_batch, train_step
    from recommender.stars.posterior import PosteriorConfig, sample_posterior

    config = FusionConfig.for_ratings(len(split.train.ratings.rating), targets="ratings")
    model = FusionModel(split.train.num_users, split.vocabularies)
    optimizer, _ = create_optimizer(model, config, num_steps=100_000)
    posterior = sample_posterior(split.train, PosteriorConfig(num_sweeps=1, burn_in=0))
    random = np.random.default_rng(0)
    return lambda rows: train_step(model, optimizer, draw_batch(split.train, np.sort(rows), posterior, config, random))


def main() -> None:
    """Prints the speed after warming up."""
    program, data_dir, batch_size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    split = test_split(read_movielens(data_dir))
    step = create_project_step(split) if program == "project" else create_plain_step(program, split)
    order = np.random.default_rng(0).permutation(len(split.train.ratings.rating))
    for limit in (WARM_UP_SECONDS, SECONDS):
        num_done, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < limit:
            first = num_done % max(1, len(order) - batch_size)
            num_done += len(order[first : first + batch_size])
            step(order[first : first + batch_size])
    print(num_done / elapsed)


if __name__ == "__main__":
    main()
