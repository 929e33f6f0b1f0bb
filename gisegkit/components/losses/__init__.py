"""The built-in losses, a module a family."""
