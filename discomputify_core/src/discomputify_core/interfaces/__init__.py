"""One small abstract class per plugin kind: the promises between core and plugins. No implementation."""
