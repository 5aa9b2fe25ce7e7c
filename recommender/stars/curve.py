"""The training curve as a picture."""

import io

from recommender.paddle_setup import writable_home
from recommender.stars.fusion_training import Epoch


def plot_training_curve(epochs: list[Epoch]) -> bytes:
    """Returns a PNG of the training and validation loss per epoch."""
    with writable_home():
        from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    numbers = [epoch.number for epoch in epochs]
    axes.plot(numbers, [epoch.train_loss for epoch in epochs], "o-", label="train")
    axes.plot(numbers, [epoch.validation_loss for epoch in epochs], "o-", label="validation")
    axes.set(xlabel="epoch", ylabel="mean squared error (stars²)", title="Training")
    axes.set_xticks(numbers)
    axes.legend()
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    return image.getvalue()
