"""The run folder: its only writer, what it holds, and how it is read again."""
