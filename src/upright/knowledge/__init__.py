"""Knowledge graphs: hold them, read them, change facts on top of them, put them into words."""
