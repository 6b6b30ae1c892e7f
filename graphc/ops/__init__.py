"""All ops, one declaration each, by family. Importing this module declares them."""
