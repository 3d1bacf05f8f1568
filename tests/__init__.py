"""All tests, from single modules to whole processes. Each names the guarantee (G1 …) it proves.

- `eventstore`, `actors`: one folder per room of the product. Pure decisions are tested with random
  histories, the storage with real faults, the actors with real crashes.
- `conformance`: the public API. The same cases run on every storage and runtime.
- `acceptance`: the product as users have it: demo, README, signals, benchmarks, wheel.
  `acceptance/guarantees` injects faults from outside: kills, freezes, cuts, failovers.
  `acceptance/peers` repeats failures of other event stores.
- `torture`: `make torture`, all faults at once, on a seeded schedule, checked from journals.
- `mutants`: `make mutants`, one broken guarantee at a time, and the tests that must notice it.
- `typing`: the public API as a type checker sees it.
- `project`: consistency of the project: public names, figures, mutants, parts of the torture.
- `support`: servers, processes, proxies, recorders, and functions that wait.

`make test` runs them on six workers, `make test WORKERS=2` on two. `HYPOTHESIS_PROFILE=ci` tries
four times as many random histories. `make guarantees` writes GUARANTEES.md, the list of the tests
of each guarantee.
"""
