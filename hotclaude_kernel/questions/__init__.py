"""Questions to the user: permissions, plans and choices, by buttons or on the input line."""
