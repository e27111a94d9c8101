"""Parts that every package uses: the command line, files written whole or not at all, and scores from counts."""
