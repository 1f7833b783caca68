"""What the user is asked, and how."""
