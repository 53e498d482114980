"""What things are: frozen values and their rules, no IO, no clock, no chance."""
