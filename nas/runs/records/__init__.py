"""What a run's directory tells: one file a record, with its value, its writer and its reader."""
