"""Writers, runtimes and a server that are hurt for a while, and the proof that nothing went wrong.

``python -m tests.torture --seconds 300 --seed 1`` runs it; each process keeps a journal of its own,
and `verdict` compares those with what the database holds.
"""
