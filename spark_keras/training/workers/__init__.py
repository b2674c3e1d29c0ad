"""Who trains, and how requests travel to them."""
