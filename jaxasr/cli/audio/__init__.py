"""The subcommands that turn audio files into text."""
