"""Where the pure inside meets the world: clock, conf file, this machine, calls over a channel, folders."""
