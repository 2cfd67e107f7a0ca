"""What commands depend on, as their command lines resolve it: one file a command whose plan, run and report all go by it."""
