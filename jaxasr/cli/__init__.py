"""The command line: each module declares the arguments of some subcommands and runs them."""
