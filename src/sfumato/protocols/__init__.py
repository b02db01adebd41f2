"""How client and clouds compute together; one room a protocol."""
