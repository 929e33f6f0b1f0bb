"""What each command does, a file a command: cli/x.py parses and prints, workflows/x.py does."""
