"""`coe bench http`: what the server costs a request and a streamed token."""
