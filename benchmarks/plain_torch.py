"""The fusion model in PyTorch, eager: what `benchmarks/training.py` compares with."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from recommender.data.dataset import Dataset
from recommender.data.features import DEMOGRAPHIC_SIZES, NUM_ANONYMOUS, NUM_RESERVED, Vocabularies


class PlainModel(nn.Module):
    """Padded titles through `nn.Conv1d`."""

    def __init__(self, num_users: int, vocabularies: Vocabularies) -> None:
        super().__init__()
        sizes = (NUM_RESERVED + num_users, *DEMOGRAPHIC_SIZES)
        widths = (32, 16, 16, 16)
        self.user = nn.ModuleList([nn.Embedding(*both) for both in zip(sizes, widths, strict=True)])
        self.user_linear = nn.ModuleList([nn.Linear(width, width) for width in widths])
        self.user_combine = nn.Linear(80, 200)
        self.movie = nn.Embedding(vocabularies.movies.size, 32)
        self.movie_linear = nn.Linear(32, 32)
        self.genre = nn.Embedding(vocabularies.genres.size, 32, padding_idx=0)
        self.word = nn.Embedding(vocabularies.words.size, 32, padding_idx=0)
        self.convolution = nn.Conv1d(32, 32, 3, padding=1)
        self.movie_combine = nn.Linear(96, 200)

    def user_vector(self, people):
        """Returns float32[batch, 200]."""
        branches = zip(self.user, self.user_linear, strict=True)
        parts = [linear(table(people[:, column])) for column, (table, linear) in enumerate(branches)]
        return torch.tanh(self.user_combine(torch.cat(parts, 1)))

    def movie_vector(self, movie, genres, words):
        """Returns float32[batch, 200]."""
        title = torch.tanh(self.convolution(self.word(words).transpose(1, 2))).sum(2)
        parts = [self.movie_linear(self.movie(movie)), self.genre(genres).sum(1), title]
        return torch.tanh(self.movie_combine(torch.cat(parts, 1)))


def stepper(dataset: Dataset, vocabularies: Vocabularies, distinct: bool) -> Callable[[np.ndarray], None]:
    """Returns a function that takes one step on some rows of the ratings.

    Args:
        dataset: The ratings.
        vocabularies: What they were encoded with.
        distinct: Whether to run each tower once a distinct person and movie, as this project does, or once a rating.
    """
    model = PlainModel(len(dataset.people) - NUM_ANONYMOUS, vocabularies)
    optimizer = torch.optim.Adam(model.parameters(), 0.001)

    def step(rows: np.ndarray) -> None:
        user_row, movie_row = dataset.ratings.person_row[rows], dataset.ratings.movie_row[rows]
        if distinct:
            user_row, user_place = np.unique(user_row, return_inverse=True)
            movie_row, movie_place = np.unique(movie_row, return_inverse=True)
        user = model.user_vector(torch.from_numpy(dataset.people[user_row]))
        movie = model.movie_vector(*map(torch.from_numpy, dataset.movies.take(movie_row)))
        if distinct:
            user, movie = F.normalize(user), F.normalize(movie)
            score = 5 * (user[torch.from_numpy(user_place)] * movie[torch.from_numpy(movie_place)]).sum(1)
        else:
            score = 5 * F.cosine_similarity(user, movie)
        loss = F.mse_loss(score, torch.from_numpy(dataset.ratings.rating[rows].astype(np.float32)))
        loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
