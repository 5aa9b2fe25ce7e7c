"""Paddle layers and what they compute."""
