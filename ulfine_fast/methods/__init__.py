"""The methods, one file each; `ulfine_fast.registry` lists them."""
