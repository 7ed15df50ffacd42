"""The Streamlit leaderboard over published runs."""
