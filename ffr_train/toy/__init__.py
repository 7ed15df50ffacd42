"""A synthetic benchmark and a small model of the real class, to walk the whole path on a CPU."""
