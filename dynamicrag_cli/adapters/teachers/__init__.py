"""What scores candidates."""
