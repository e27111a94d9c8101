"""From runs to predictions, scores, figures and reports."""
