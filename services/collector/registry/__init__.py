"""Who is who: merchants with what they may speak for, their keys and limits; goods and places as they registered them."""
