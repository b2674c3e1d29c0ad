"""Self-contained HTML pages with charts as SVG, and tables of text, for all packages."""
