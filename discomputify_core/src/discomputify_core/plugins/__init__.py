"""Finding plugins (manager) and turning a name from the conf into one class (selection).

Imports only the hooks module of each plugin; its classes are imported when they are selected.
"""
