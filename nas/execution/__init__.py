"""Where jobs run: one loop hands them to workers in this process, in other processes of this machine, or on a Ray cluster.

Nothing here knows studies or architectures. A job is a key and a payload; a worker calls a function with the payload.
"""
