"""What finds candidates."""
