"""The master as a value: events in, commands out, time as an argument. No IO, no clock, no chance."""
