"""What an operator may do to features before they are released at a cut, and what it promises."""
