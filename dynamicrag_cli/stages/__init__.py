"""The method, one file per stage: records in, outcomes out. No file is opened and nothing is printed here."""
