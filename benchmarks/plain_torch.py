"""The fusion model in PyTorch, eager, which `benchmarks/training.py` compares with."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from recommender.movielens.split import Dataset
from recommender.movielens.encoding import DEMOGRAPHIC_SIZES, NUM_RESERVED, Vocabularies


class PlainModel(nn.Module):
    """Padded titles through `nn.Conv1d`."""

    def __init__(self, num_users: int, vocabularies: Vocabularies) -> None:
        super().__init__()
        sizes = (NUM_RESERVED + num_users, *DEMOGRAPHIC_SIZES)
        widths = (32, 16, 16, 16)
        self.user = nn.ModuleList([nn.Embedding(*shape) for shape in zip(sizes, widths, strict=True)])
        self.user_linear = nn.ModuleList([nn.Linear(width, width) for width in widths])
        self.user_combine = nn.Linear(80, 200)
        self.movie = nn.Embedding(vocabularies.movies.size, 32)
        self.movie_linear = nn.Linear(32, 32)
        self.genre = nn.Embedding(vocabularies.genres.size, 32, padding_idx=0)
        self.word = nn.Embedding(vocabularies.words.size, 32, padding_idx=0)
        self.convolution = nn.Conv1d(32, 32, 3, padding=1)
        self.movie_combine = nn.Linear(96, 200)

    def user_vector(self, profiles: torch.Tensor) -> torch.Tensor:
        """Returns float32[batch, 200]."""
        branches = zip(self.user, self.user_linear, strict=True)
        parts = [linear(table(profiles[:, column])) for column, (table, linear) in enumerate(branches)]
        return torch.tanh(self.user_combine(torch.cat(parts, 1)))

    def movie_vector(self, movie_idx: torch.Tensor, genre_idx: torch.Tensor, word_idx: torch.Tensor) -> torch.Tensor:
        """Returns float32[batch, 200]."""
        title = torch.tanh(self.convolution(self.word(word_idx).transpose(1, 2))).sum(2)
        parts = [self.movie_linear(self.movie(movie_idx)), self.genre(genre_idx).sum(1), title]
        return torch.tanh(self.movie_combine(torch.cat(parts, 1)))


def create_step(dataset: Dataset, vocabularies: Vocabularies, distinct: bool) -> Callable[[np.ndarray], None]:
    """Returns a function that takes one step on some rows of the ratings.

    Args:
        dataset: The ratings.
        vocabularies: The vocabularies that encoded the dataset.
        distinct: Whether each tower runs once per distinct user and movie, as in this project, or once per rating.
    """
    model = PlainModel(dataset.num_users, vocabularies)
    optimizer = torch.optim.Adam(model.parameters(), 0.001)

    def step(rows: np.ndarray) -> None:
        profile_row, movie_row, rating = dataset.ratings.select(rows)
        if distinct:
            profile_row, user_position = np.unique(profile_row, return_inverse=True)
            movie_row, movie_position = np.unique(movie_row, return_inverse=True)
        user = model.user_vector(torch.from_numpy(dataset.profiles[profile_row]))
        movie = model.movie_vector(*map(torch.from_numpy, dataset.movies.select(movie_row)))
        if distinct:
            user, movie = F.normalize(user), F.normalize(movie)
            pairs = user[torch.from_numpy(user_position)] * movie[torch.from_numpy(movie_position)]
            predicted = 5 * pairs.sum(1)
        else:
            predicted = 5 * F.cosine_similarity(user, movie)
        loss = F.mse_loss(predicted, torch.from_numpy(rating.astype(np.float32)))
        loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
