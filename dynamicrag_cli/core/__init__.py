"""Vocabulary and maths: records, prompts, identifiers, targets, rewards, preferences, metrics, tasks, errors. Nothing heavy."""
