"""The outside world: engines, retrievers, teachers, rewards, trainers, files. One optional dependency a file."""
