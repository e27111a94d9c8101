"""Tables of scores: files, printed text, comparisons."""
