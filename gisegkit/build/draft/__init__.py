"""A recipe is drafted from a folder: its layout, what its files hold, the choices that follow, and their text."""
