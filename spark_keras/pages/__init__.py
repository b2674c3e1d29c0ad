"""Self-contained HTML pages: one template that all share, and charts as SVG."""
