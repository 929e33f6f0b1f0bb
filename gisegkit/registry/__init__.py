"""The kinds of components, what is registered, and the schema that is read from a factory's source."""
