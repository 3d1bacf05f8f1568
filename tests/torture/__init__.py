"""A stress test with faults: writers, runtimes and a server are hurt, then the result is judged.

``python -m tests.torture --seconds 300 --seed 1`` runs it. Each process keeps a journal, and
`verdict` compares the journals with the content of the database.
"""
