"""Where work runs: jobs are handed to workers (in this process, in others of this machine, on a Ray cluster) by one loop.

Nothing here knows studies or architectures: a job is a key and a payload, a worker is a callable that it is given.
"""
