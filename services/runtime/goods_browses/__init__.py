"""Who looked at a merchant's goods, as that merchant may know it: counts that tell of nobody."""
