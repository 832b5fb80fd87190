"""Commands that erase what is known of people, and give them what is held about them."""
