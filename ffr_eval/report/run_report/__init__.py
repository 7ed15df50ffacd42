"""Reports on several runs: HTML, Markdown or LaTeX, with figures."""
