"""Reports: figures as people read them."""
