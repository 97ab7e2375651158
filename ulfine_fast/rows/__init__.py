"""The rows that a method may see, and which of them are left out."""
