"""Recipes: text to a frozen, complete Recipe, with every mistake in one report; knows nothing of torch."""
