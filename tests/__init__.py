"""The tests, by the distance from which they look; each names the guarantee (G1 …) that it proves.

- `unit`: pure parts alone, many of them against random histories.
- `storage`: the PostgreSQL storage, its connections, locks and plans, and the embedded server.
- `actors`: the runtime from inside: each part with its neighbours, crashes, restarts, ends.
- `conformance`: the public API on every storage and runtime; the same cases for all of them.
- `acceptance`: from outside, as users have it: command line, demo, README, signals, benchmarks.
  `acceptance/guarantees` breaks what other processes can break: kills, freezes, cuts, failovers;
  `acceptance/peers` plays what went wrong in other event stores.
- `torture`: `make torture`, all faults at once, on a seeded schedule, judged from journals.
- `mutants`: `make mutants`, one broken guarantee at a time, and the tests that have to notice.
- `typing`: what a type checker must see of the public API.
- `support`: servers, processes, proxies, recorders, and how to wait.
"""
