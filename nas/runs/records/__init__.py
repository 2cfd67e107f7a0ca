"""The files of a run's directory that other commands read: one module a file, with its value, its writer and its reader."""
