"""What people see in a browser: views, which say it, and pages, which show it."""
