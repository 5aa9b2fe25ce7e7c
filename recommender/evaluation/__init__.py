"""Metrics, baselines, and the evaluation of a trained model."""
