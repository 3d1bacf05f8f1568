"""How a mutant names a place in the product, and what it does there; see ../README.md."""
