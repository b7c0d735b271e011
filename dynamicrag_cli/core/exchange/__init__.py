"""Other projects' files: per format one pure function that reads an item into a record, and one that writes it."""
