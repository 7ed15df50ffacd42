"""What is shown of rewards: terminal tables and figures."""
