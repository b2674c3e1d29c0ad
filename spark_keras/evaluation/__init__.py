"""Quality of a fitted model: compiled metrics, losses, and reports on classification and regression."""
