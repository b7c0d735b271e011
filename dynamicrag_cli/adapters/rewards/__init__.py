"""Reward terms that need a model."""
