"""What people look at after a run: the preview picture and the page.

Reads finished arrays, tables and numbers; knows neither torch nor the run folder.
"""
