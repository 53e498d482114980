"""The command line: what a user types and sees. Decides nothing about jobs; asks the client and the roles."""
