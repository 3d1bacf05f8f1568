"""Breaks the product on purpose, one guarantee at a time, and shows which test notices.

``python -m tests.mutants`` runs them all, ``python -m tests.mutants ID ...`` some; see README.md.
"""
