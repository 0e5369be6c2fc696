"""How the database came to its tables: one revision after another, run by `database.upgrade`."""
