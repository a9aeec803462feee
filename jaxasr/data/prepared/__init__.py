"""The prepared corpus on disk: modules that check, write, describe and open it."""
