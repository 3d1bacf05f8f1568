"""The tests, by the distance from which they look; each names the guarantee (G1 …) that it proves.

- `eventstore`, `actors`: room by room beside the product, each part with its neighbours: the
  decisions against random histories, the storage with real faults, the actors with real crashes.
- `conformance`: the public API on every storage and runtime; the same cases for all of them.
- `acceptance`: from outside, as users have it: demo, README, signals, benchmarks.
  `acceptance/guarantees` breaks what other processes can break: kills, freezes, cuts, failovers;
  `acceptance/peers` plays what went wrong in other event stores.
- `torture`: `make torture`, all faults at once, on a seeded schedule, judged from journals.
- `mutants`: `make mutants`, one broken guarantee at a time, and the tests that have to notice.
- `typing`: what a type checker must see of the public API.
- `project`: what the project keeps in order: public names, figures, mutants, the torture's parts.
- `support`: servers, processes, proxies, recorders, and how to wait.

`make test` runs them on six workers, `WORKERS=2 make test` on two. `HYPOTHESIS_PROFILE=ci` lets it
try four times as many random histories. `make guarantees` writes GUARANTEES.md, the list of the
tests of each guarantee.
"""
