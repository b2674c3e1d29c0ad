"""How good a fitted model is: compiled metrics, losses, and reports on classification and regression."""
