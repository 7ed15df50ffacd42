"""What Streamlit runs, alone in its folder: a ``pages`` beside it would be taken for a menu."""

from leaderboard.app import main

main()
