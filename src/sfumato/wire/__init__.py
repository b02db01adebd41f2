"""What travels between client and clouds: messages, their bytes, and the record of them."""
