"""Submissions: reading uploads safely, the private report, daily limits, and the review queue."""
