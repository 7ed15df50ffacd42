"""What the pages read from a site; no user interface in here."""
