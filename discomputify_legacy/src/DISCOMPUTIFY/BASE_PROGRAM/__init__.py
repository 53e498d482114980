"""What old programs import; light, since every part pays for it."""
