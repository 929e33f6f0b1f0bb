"""Names become live objects: data, network, training parts, and the plan of the memory that a step takes."""
